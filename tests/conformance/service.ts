import { setTimeout as pause } from "node:timers/promises";
import { create, type DescMessage, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import { type Any, anyIs, anyPack } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type HandlerContext, type ServiceImpl } from "@connectrpc/connect";
import type { ErrorDefinition, Field, StreamDefinition, UnaryDefinition } from "./messages.ts";
import type { ConformanceSchema } from "./schema.ts";

/** The parts of a call that a plane gives its handler in its own way. */
export interface CallView<M> {
  readonly message: M;
  readonly headers: readonly Field[];
  /** Parameters of the query of a GET request. */
  readonly query?: readonly Field[];
}

type Look = <M>(message: M, context: HandlerContext) => CallView<M>;

interface UnaryRequest extends Message {
  readonly responseDefinition?: UnaryDefinition;
}

interface StreamRequest extends Message {
  readonly responseDefinition?: StreamDefinition;
}

/** Fields of a Headers object. */
export function fieldsOf(headers: Headers): Field[] {
  return [...headers].map(([name, value]) => ({ name, value: value.split(", ") }));
}

function addFields(target: Headers, fields: readonly Field[] = []): void {
  for (const { name, value } of fields) for (const one of value) target.append(name, one);
}

/** A message of a suite's file out of an Any. */
export function unpack(any: Any, desc: DescMessage): Message {
  if (!anyIs(any, desc)) throw new Error(`${any.typeUrl} is not ${desc.typeName}`);
  return fromBinary(desc, any.value);
}

/** Waits, or rejects with the reason for which the call ends. */
async function wait(ms: number, { signal }: HandlerContext): Promise<void> {
  await pause(ms, undefined, { signal }).catch(() => {
    throw ConnectError.from(signal.reason, Code.Canceled);
  });
}

/** The handlers of the conformance service's unary and server-streaming methods. */
export function conformanceHandlers(schema: ConformanceSchema, look: Look): ServiceImpl<ConformanceSchema["service"]> {
  const { registry } = schema;
  const infoDesc = schema.message("ConformancePayload.RequestInfo");
  const payloadDesc = schema.message("ConformancePayload");

  const infoOf = <M extends Message>({ message, headers, query }: CallView<M>, context: HandlerContext) => {
    const timeoutMs = context.timeoutMs();
    return create(infoDesc, {
      requestHeaders: headers,
      timeoutMs: timeoutMs === undefined ? undefined : BigInt(Math.round(timeoutMs)),
      requests: [anyPack(context.method.input, message as never)],
      connectGetInfo: query === undefined ? undefined : { queryParams: query },
    } as never);
  };

  /** Details of types that the suite does not have are passed on as they are. */
  const detailOf = (any: Any) => {
    const type = any.typeUrl.slice(any.typeUrl.lastIndexOf("/") + 1);
    const desc = registry.getMessage(type);
    return desc === undefined ? { type, value: any.value } : { desc, value: fromBinary(desc, any.value) };
  };
  const raise = ({ code, message, details }: ErrorDefinition, info?: Message): never => {
    const error = new ConnectError(message ?? "", code as Code);
    error.details = details.map(detailOf) as never;
    if (info !== undefined) error.details.push({ desc: infoDesc, value: info as never });
    throw error;
  };

  const unary = async (given: Message, context: HandlerContext) => {
    const call = look(given as UnaryRequest, context);
    const info = infoOf(call, context);
    const definition = call.message.responseDefinition;
    if (definition !== undefined) {
      addFields(context.responseHeader, definition.responseHeaders);
      addFields(context.responseTrailer, definition.responseTrailers);
      await wait(definition.responseDelayMs, context);
      if (definition.response.case === "error") raise(definition.response.value, info);
    }
    const data = definition?.response.case === "responseData" ? definition.response.value : undefined;
    return create(context.method.output, { payload: create(payloadDesc, { data, requestInfo: info } as never) } as never);
  };

  const stream = async function* (given: Message, context: HandlerContext) {
    const call = look(given as StreamRequest, context);
    const info = infoOf(call, context);
    const definition = call.message.responseDefinition;
    if (definition === undefined) return;
    addFields(context.responseHeader, definition.responseHeaders);
    addFields(context.responseTrailer, definition.responseTrailers);
    let sent = 0;
    for (const data of definition.responseData) {
      await wait(definition.responseDelayMs, context);
      const requestInfo = sent === 0 ? info : undefined;
      yield create(context.method.output, { payload: create(payloadDesc, { data, requestInfo } as never) } as never);
      sent += 1;
    }
    if (definition.error !== undefined) raise(definition.error, sent === 0 ? info : undefined);
  };

  return {
    unary,
    idempotentUnary: unary,
    serverStream: stream,
    unimplemented() {
      throw new ConnectError("not implemented on purpose", Code.Unimplemented);
    },
  } as never;
}

/** A message in the framing of the runner's pipes: 4 bytes of length, big-endian, then the message. */
export function framed(desc: DescMessage, message: Message): Buffer {
  const bytes = toBinary(desc, message as never);
  const prefix = Buffer.alloc(4);
  prefix.writeUInt32BE(bytes.length);
  return Buffer.concat([prefix, bytes]);
}

/** The messages of a pipe of the runner. */
export async function* frames(desc: DescMessage, input: AsyncIterable<Buffer>): AsyncGenerator<Message> {
  let held = Buffer.alloc(0);
  for await (const chunk of input) {
    held = Buffer.concat([held, chunk]);
    while (held.length >= 4 && held.length >= 4 + held.readUInt32BE(0)) {
      const end = 4 + held.readUInt32BE(0);
      yield fromBinary(desc, held.subarray(4, end));
      held = held.subarray(end);
    }
  }
}
