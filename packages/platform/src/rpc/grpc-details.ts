import type { Client, Server } from "@grpc/grpc-js";
import type { Logger } from "../logger.ts";

/** The method, beside the standard health service, by which an instance tells its details as JSON text. */
const detailsPath = "/turnwright.health.v1.Health/Details";

const timeoutMs = 2_000;

/** Serves the details of this process as JSON text, to health probes. */
export function addDetails(server: Server, { details, logger }: { details?: () => unknown; logger: Logger }): void {
  const bytes = (value: Buffer) => value;
  const method = {
    path: detailsPath,
    requestStream: false,
    responseStream: false,
    requestSerialize: bytes,
    requestDeserialize: bytes,
    responseSerialize: bytes,
    responseDeserialize: bytes,
  } as const;
  server.addService(
    { details: method },
    {
      details(_call: unknown, answer: (error: null, value: Buffer) => void) {
        let text = "";
        try {
          text = JSON.stringify(details?.()) ?? "";
        } catch (error) {
          logger.error({ err: error }, "details cannot be told");
        }
        answer(null, Buffer.from(text));
      },
    },
  );
}

/** An instance's details; undefined when it has none, or is of a release that does not tell them. */
export function detailsOf(client: Client): Promise<unknown> {
  return new Promise((resolve) => {
    client.makeUnaryRequest(
      detailsPath,
      (empty: Buffer) => empty,
      (answer: Buffer) => answer,
      Buffer.alloc(0),
      { deadline: Date.now() + timeoutMs },
      (error, answer) => {
        try {
          resolve(error === null && answer !== undefined && answer.length > 0 ? JSON.parse(answer.toString("utf8")) : undefined);
        } catch {
          resolve(undefined);
        }
      },
    );
  });
}
