/** The mesh's transport as a client under test: makes the calls that the runner writes to its input. */
import { setTimeout as pause } from "node:timers/promises";
import { create, type DescMethodUnary, type Message } from "@bufbuild/protobuf";
import { type Any, anyPack } from "@bufbuild/protobuf/wkt";
import { ConnectError, type Transport } from "@connectrpc/connect";
import { createGrpcTransport } from "@turnwright/platform/rpc/grpc-transport";
import type { ClientRequest, Field } from "./messages.ts";
import { compileConformance } from "./schema.ts";
import { fieldsOf, framed, frames, unpack } from "./service.ts";

const schema = compileConformance();
/** Time after which a call is given up, in milliseconds; the runner waits for all calls. */
const longestMs = 10_000;
const payloadOf = (message: Message) => (message as Message & { payload?: Message }).payload;

function errorOf(error: ConnectError): object {
  const details = error.details.map((detail) =>
    "desc" in detail
      ? anyPack(detail.desc, create(detail.desc, detail.value))
      : ({ typeUrl: `type.googleapis.com/${detail.type}`, value: detail.value } as Any),
  );
  return { code: error.code, message: error.rawMessage, details };
}

/** Makes a call and records all that its caller sees. */
async function makeCall(transport: Transport, asked: ClientRequest): Promise<object> {
  const method = schema.method(asked.method ?? "Unary");
  const [first] = asked.requestMessages;
  if (first === undefined) throw new Error("a call without a message");
  const input = unpack(first, method.input);
  const header = new Headers();
  for (const { name, value } of asked.requestHeaders) for (const one of value) header.append(name, one);
  const controller = new AbortController();
  const timing = asked.cancel?.cancelTiming;
  let timer = setTimeout(() => controller.abort(), longestMs);
  if (asked.requestDelayMs > 0) await pause(asked.requestDelayMs);
  if (timing !== undefined && timing.case !== "afterNumResponses") {
    clearTimeout(timer);
    timer = setTimeout(() => controller.abort(), timing.case === "afterCloseSendMs" ? timing.value : 0);
  }
  const seen = { responseHeaders: [] as Field[], responseTrailers: [] as Field[], payloads: [] as Message[] };
  try {
    if (method.methodKind === "unary") {
      const answer = await transport.unary(method as DescMethodUnary, controller.signal, asked.timeoutMs, header, input as never);
      seen.responseHeaders = fieldsOf(answer.header);
      seen.responseTrailers = fieldsOf(answer.trailer);
      seen.payloads.push(payloadOf(answer.message) as Message);
      return seen;
    }
    const sent = (async function* () {
      yield input as never;
    })();
    const answer = await transport.stream(method as never, controller.signal, asked.timeoutMs, header, sent);
    seen.responseHeaders = fieldsOf(answer.header);
    try {
      for await (const message of answer.message) {
        seen.payloads.push(payloadOf(message) as Message);
        if (timing?.case === "afterNumResponses" && seen.payloads.length === timing.value) controller.abort();
      }
    } finally {
      seen.responseTrailers = fieldsOf(answer.trailer);
    }
    return seen;
  } catch (thrown) {
    const error = ConnectError.from(thrown);
    const metadata = fieldsOf(error.metadata);
    // As in Connect's own clients, an error carries headers and trailers in one.
    if (seen.responseHeaders.length === 0) seen.responseHeaders = metadata;
    if (seen.responseTrailers.length === 0) seen.responseTrailers = metadata;
    return { ...seen, error: errorOf(error) };
  } finally {
    clearTimeout(timer);
  }
}

const responseDesc = schema.message("ClientCompatResponse");
const resultDesc = schema.message("ClientResponseResult");
const errorDesc = schema.message("Error");

async function answer(asked: ClientRequest): Promise<void> {
  const transport = createGrpcTransport({
    addresses: [`${asked.host}:${asked.port}`],
    maxMessageBytes: asked.messageReceiveLimit || undefined,
  });
  let result: object;
  try {
    const { error, ...seen } = (await makeCall(transport, asked)) as { error?: object };
    const made = create(resultDesc, { ...seen, error: error && create(errorDesc, error as never) } as never);
    result = { case: "response", value: made };
  } catch (error) {
    result = { case: "error", value: create(schema.message("ClientErrorResult"), { message: String(error) } as never) };
  } finally {
    transport.close();
  }
  process.stdout.write(framed(responseDesc, create(responseDesc, { testName: asked.testName, result } as never)));
}

/** Calls at a time: deadlines are measured, and a crowd on one processor would use them up. */
const atOnce = 8;
const calls = new Set<Promise<void>>();
for await (const asked of frames(schema.message("ClientCompatRequest"), process.stdin)) {
  const made = answer(asked as Message & ClientRequest).finally(() => calls.delete(made));
  calls.add(made);
  if (calls.size >= atOnce) await Promise.race(calls);
}
await Promise.all(calls);
process.exit(0);
