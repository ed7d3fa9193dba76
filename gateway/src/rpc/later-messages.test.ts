import { once } from "node:events";
import { type ClientHttp2Session, connect } from "node:http2";
import { create, createRegistry, fromBinary, type Message, type MessageInitShape } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ConformanceGateway, startConformanceGateway } from "../../testing/conformance-gateway.ts";
import { compileLibrary } from "../../testing/library.ts";
import { admittedRpc } from "./rpc-plugin.ts";

const library = compileLibrary();
const { output } = library.service.method.watchShelf ?? {};
const seen = (word: string) => create(output as NonNullable<typeof output>, { word } as MessageInitShape<never>);

let context: HandlerContext | undefined;
let later: () => AsyncGenerator<Message>;
let gateway: ConformanceGateway;
let session: ClientHttp2Session;

beforeAll(async () => {
  const watchShelf = async function* (_empty: Message, given: HandlerContext) {
    context = given;
    const call = admittedRpc(given);
    if (call.later === undefined) {
      call.later = later();
      yield seen("first");
    }
    for await (const message of { [Symbol.asyncIterator]: () => call.later as AsyncGenerator<Message> }) yield message;
  };
  const options = { service: library.service, impl: { watchShelf } as never, registry: createRegistry(), messageBytes: 10_000 };
  gateway = await startConformanceGateway(options);
  session = connect(`http://127.0.0.1:${gateway.port}`);
});
afterAll(async () => {
  session.destroy();
  await gateway.close();
});

function open(contentType: string, headers: Record<string, string> = {}) {
  const path = "/fixture.v1.LibraryService/WatchShelf";
  const stream = session.request({ ":method": "POST", ":path": path, "content-type": contentType, ...headers });
  stream.end(Buffer.from([0, 0, 0, 0, 0]));
  const trailers: Record<string, unknown> = {};
  stream.on("trailers", (given) => Object.assign(trailers, given));
  return { stream, trailers };
}

interface Received {
  readonly words: readonly string[];
  readonly flags: readonly number[];
  /** The end of a Connect stream. */
  readonly end: unknown;
}

function envelopesOf(bytes: Buffer): Received {
  const words: string[] = [];
  const flags: number[] = [];
  let end: unknown;
  for (let at = 0; at < bytes.length; ) {
    const flag = bytes.readUInt8(at);
    const message = bytes.subarray(at + 5, at + 5 + bytes.readUInt32BE(at + 1));
    at += 5 + message.length;
    if (flag === 2) end = JSON.parse(message.toString());
    else flags.push(flag);
    if (flag === 0) words.push((fromBinary(output as never, message) as unknown as { word: string }).word);
  }
  return { words, flags, end };
}

async function readAll({ stream, trailers }: ReturnType<typeof open>) {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return { ...envelopesOf(Buffer.concat(chunks)), trailers };
}

const types = ["application/grpc", "application/connect+proto"] as const;

describe.each(types)("a stream of %s", (contentType) => {
  test("has left Connect's pipeline while it waits for its second message", async () => {
    const ending = Promise.withResolvers<void>();
    later = async function* () {
      await ending.promise;
      yield seen("second");
    };
    const opened = open(contentType);
    const all = readAll(opened);
    await once(opened.stream, "data");
    expect(context?.signal.aborted).toBe(true);
    ending.resolve();
    expect((await all).words).toEqual(["first", "second"]);
  });

  test("ends like one that Connect frames", async () => {
    later = async function* () {
      yield seen("second");
      yield seen("third");
    };
    const { words, trailers, end } = await readAll(open(contentType));
    expect(words).toEqual(["first", "second", "third"]);
    if (contentType === "application/grpc") expect(trailers).toMatchObject({ "grpc-status": "0" });
    else expect(end).toEqual({});
  });

  test("tells an error after its messages", async () => {
    later = async function* () {
      yield seen("second");
      throw fail(ErrorReason.NOT_FOUND, "The shelf is gone.");
    };
    const { words, trailers, end } = await readAll(open(contentType));
    expect(words).toEqual(["first", "second"]);
    if (contentType === "application/grpc") expect(trailers).toMatchObject({ "grpc-status": "5" });
    else expect(end).toMatchObject({ error: { code: "not_found", message: "The shelf is gone." } });
  });

  test("compresses large messages for clients that read gzip, and no small ones", async () => {
    later = async function* () {
      yield seen("w".repeat(5_000));
      yield seen("short");
    };
    const name = contentType === "application/grpc" ? "grpc-accept-encoding" : "connect-accept-encoding";
    expect(await readAll(open(contentType, { [name]: "gzip" }))).toMatchObject({ words: ["first", "short"], flags: [0, 1, 0] });
  });
});
