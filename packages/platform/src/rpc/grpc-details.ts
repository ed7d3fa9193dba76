import { type Client, Metadata, type Server } from "@grpc/grpc-js";
import type { Logger } from "../logger.ts";

/** The method, beside the standard health service, by which an instance tells its details as JSON text. */
const detailsPath = "/turnwright.health.v1.Health/Details";

/** The method by which an instance tells facts and figures of its process as JSON text. */
const reportPath = "/turnwright.health.v1.Health/Report";

/** Metadata of the answer: the instance's clock, in milliseconds since 1970. */
const clockKey = "x-turnwright-clock";

const timeoutMs = 2_000;

/** The clock of an instance, and its details. */
export interface InstanceDetails {
  /** Undefined: it has none, or is of a release that does not tell them. */
  readonly details: unknown;
  /** Milliseconds by which its clock is ahead of this process's, to half a round trip; undefined: unknown. */
  readonly aheadMs: number | undefined;
}

/** Serves the details and the report of this process as JSON text, to health probes. */
export function addDetails(
  server: Server,
  { details, report, logger }: { details?: () => unknown; report?: () => unknown; logger: Logger },
): void {
  const bytes = (value: Buffer) => value;
  const method = (path: string) =>
    ({
      path,
      requestStream: false,
      responseStream: false,
      requestSerialize: bytes,
      requestDeserialize: bytes,
      responseSerialize: bytes,
      responseDeserialize: bytes,
    }) as const;
  const tell =
    (what: (() => unknown) | undefined) =>
    (call: { sendMetadata(metadata: Metadata): void }, answer: (error: null, value: Buffer) => void) => {
      let text = "";
      try {
        text = JSON.stringify(what?.()) ?? "";
      } catch (error) {
        logger.error({ err: error }, "details cannot be told");
      }
      const metadata = new Metadata();
      metadata.set(clockKey, String(Date.now()));
      call.sendMetadata(metadata);
      answer(null, Buffer.from(text));
    };
  server.addService(
    { details: method(detailsPath), report: method(reportPath) },
    { details: tell(details), report: tell(report) },
  );
}

function parsed(text: string): unknown {
  try {
    return text === "" ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Asks an instance for its details and its clock. Never rejects. */
export function detailsOf(client: Client): Promise<InstanceDetails> {
  return ask(client, detailsPath, timeoutMs);
}

/** Asks an instance for its report. Never rejects: undefined when it does not answer in time. */
export async function reportOf(client: Client, limitMs: number): Promise<unknown> {
  return (await ask(client, reportPath, limitMs)).details;
}

function ask(client: Client, path: string, limitMs: number): Promise<InstanceDetails> {
  return new Promise((resolve) => {
    const askedAt = Date.now();
    let aheadMs: number | undefined;
    client
      .makeUnaryRequest(
        path,
        (empty: Buffer) => empty,
        (answer: Buffer) => answer,
        Buffer.alloc(0),
        { deadline: Date.now() + limitMs },
        (error, answer) => resolve({ details: error === null ? parsed(answer?.toString("utf8") ?? "") : undefined, aheadMs }),
      )
      .on("metadata", (metadata) => {
        const clock = Number(metadata.get(clockKey)[0] ?? Number.NaN);
        if (Number.isFinite(clock)) aheadMs = clock - (askedAt + Date.now()) / 2;
      });
  });
}
