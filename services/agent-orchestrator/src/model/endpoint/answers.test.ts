import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import { detailOf, ErrorReason, reasonOf } from "@turnwright/platform/errors";
import { streamedFrames, wholeCompletion } from "@turnwright/testing/scripted-model";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ModelClient } from "../model-client.ts";
import { createHttpModel, type HttpModelOptions } from "./http-model.ts";

type Answer = (request: IncomingMessage, response: ServerResponse, body: string) => unknown;

let server: Server;
let answer: Answer;
let requests: { path: string; body: string; headers: IncomingMessage["headers"] }[];
const clients: ModelClient[] = [];
const forever = new AbortController().signal;
const ask = Buffer.from('{"messages":[]}');

beforeEach(async () => {
  requests = [];
  server = createServer(async (request, response) => {
    let body = "";
    for await (const piece of request) body += piece;
    requests.push({ path: request.url ?? "", body, headers: request.headers });
    answer(request, response, body);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
});

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
  server.closeAllConnections();
  server.close();
});

const origin = () => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

function model(options: Partial<HttpModelOptions> = {}): ModelClient {
  const client = createHttpModel({ baseUrl: origin(), timeoutMs: 5_000, connections: 4, retryDelayMs: 1, ...options });
  clients.push(client);
  return client;
}

async function all(pieces: AsyncIterable<Buffer>): Promise<string> {
  let text = "";
  for await (const piece of pieces) text += piece.toString("latin1");
  return text;
}

async function streamed(client: ModelClient): Promise<string> {
  return all(await client.stream(ask, forever));
}

const failureOf = (work: Promise<unknown>) =>
  work.then(
    () => expect.fail("it succeeded"),
    (error: unknown) => ({ reason: reasonOf(error), message: (error as Error).message, detail: detailOf(error) }),
  );

const whole = wholeCompletion({ text: "hello" });
const frames = streamedFrames({ text: "one two three" }).join("");
const reply =
  (status: number, headers: Record<string, string>, body?: string | Buffer): Answer =>
  (_request, response) =>
    response.writeHead(status, headers).end(body);

const encodings: [string, (text: string) => Buffer][] = [
  ["gzip", (text) => gzipSync(text)],
  ["x-gzip", (text) => gzipSync(text)],
  ["GZIP", (text) => gzipSync(text)],
  ["deflate", (text) => deflateSync(text)],
  ["deflate", (text) => deflateRawSync(text)],
  ["br", (text) => brotliCompressSync(text)],
  ["zstd", (text) => zstdCompressSync(text)],
  ["identity", (text) => Buffer.from(text)],
  ["gzip, br", (text) => brotliCompressSync(gzipSync(text))],
  ["gzip", (text) => Buffer.from(text)],
];

describe("an encoded answer", () => {
  test.each(encodings)("in %s is decoded, whole and streamed (%#)", async (encoding, encode) => {
    answer = reply(200, { "content-encoding": encoding }, encode(whole));
    expect(String(await model().complete(ask, forever))).toBe(whole);
    answer = reply(200, { "content-encoding": encoding }, encode(frames));
    expect(await streamed(model())).toBe(frames);
  });

  test("is asked for in no encoding", async () => {
    answer = reply(200, {}, whole);
    await model().complete(ask, forever);
    expect(requests[0]?.headers["accept-encoding"]).toBe("identity");
  });

  test("is decoded as it arrives", async () => {
    const { createGzip, constants } = await import("node:zlib");
    const gate = Promise.withResolvers<void>();
    answer = async (_request, response) => {
      const gzip = createGzip({ flush: constants.Z_SYNC_FLUSH });
      gzip.pipe(response.writeHead(200, { "content-encoding": "gzip" }));
      gzip.write("data: 1\n\n");
      await gate.promise;
      gzip.end("data: 2\n\n");
    };
    const iterator = (await model().stream(ask, forever))[Symbol.asyncIterator]();
    expect(String((await iterator.next()).value)).toBe("data: 1\n\n");
    gate.resolve();
    expect(await all({ [Symbol.asyncIterator]: () => iterator })).toBe("data: 2\n\n");
  });

  test("that is cut yields everything before the cut", async () => {
    answer = (_request, response) => {
      response.writeHead(200, { "content-encoding": "gzip" });
      response.write(gzipSync(frames).subarray(0, -12), () => response.destroy());
    };
    let text = "";
    const read = async () => {
      for await (const piece of await model().stream(ask, forever)) text += piece;
    };
    expect((await failureOf(read())).reason).toBe(ErrorReason.MODEL_FAILED);
    expect(frames.startsWith(text) && text.length > 100).toBe(true);
  });

  test("with a fault inside ends with MODEL_FAILED", async () => {
    const bytes = gzipSync(whole.repeat(50));
    bytes.fill(0xff, 30, 60);
    answer = reply(200, { "content-encoding": "gzip" }, bytes);
    expect((await failureOf(model().complete(ask, forever))).reason).toBe(ErrorReason.MODEL_FAILED);
  });

  test.each(["compress", "__proto__", "gzip, gzip, gzip"])("in %s is refused by name", async (encoding) => {
    answer = reply(200, { "content-encoding": encoding }, "x");
    const failed = await failureOf(model().complete(ask, forever));
    expect(failed.message).toContain("which is not read");
    expect(requests).toHaveLength(1);
  });

  test("that grows beyond all bounds ends with ANSWER_TOO_LARGE, whole and streamed", async () => {
    const bomb = gzipSync(Buffer.alloc(50_000_000, "x"));
    answer = reply(200, { "content-encoding": "gzip" }, bomb);
    const bounded = model({ maxAnswerBytes: 100_000 });
    expect((await failureOf(bounded.complete(ask, forever))).reason).toBe(ErrorReason.ANSWER_TOO_LARGE);
    expect((await failureOf(streamed(bounded))).reason).toBe(ErrorReason.ANSWER_TOO_LARGE);
  });

  test("with an error tells its words", async () => {
    answer = reply(400, { "content-encoding": "gzip" }, gzipSync('{"error":{"message":"temperature out of range"}}'));
    expect((await failureOf(model().complete(ask, forever))).message).toContain("temperature out of range");
  });
});

test.each([200, 201, 202, 203, 206])("an answer with the status %i is read", async (status) => {
  answer = reply(status, { "content-type": "Application/JSON; charset=UTF-8" }, whole);
  expect(String(await model().complete(ask, forever))).toBe(whole);
});

test("a stream of another content type is passed on for the edge to read", async () => {
  answer = reply(200, { "content-type": "TEXT/Event-Stream" }, frames);
  expect(await streamed(model())).toBe(frames);
  answer = reply(200, { "content-type": "application/json" }, whole);
  expect(await streamed(model())).toBe(whole);
});

test.each([200, 204, 205])("an answer of %i without a byte is asked for again, then failed", async (status) => {
  answer = reply(status, {});
  const failed = await failureOf(model().complete(ask, forever));
  expect(failed).toMatchObject({ reason: ErrorReason.MODEL_FAILED, message: expect.stringContaining("empty answer") });
  expect(requests).toHaveLength(3);
  answer = (_request, response) => response.end(requests.length === 4 ? undefined : frames);
  expect(await streamed(model())).toBe(frames);
});

test("an answer that breaks off before its first byte is asked for again", async () => {
  answer = (_request, response) => {
    if (requests.length > 1) response.end(frames);
    else {
      response.writeHead(200).flushHeaders();
      setImmediate(() => response.destroy());
    }
  };
  expect(await streamed(model())).toBe(frames);
  expect(requests).toHaveLength(2);
});

describe("a redirect", () => {
  test.each([307, 308])("%i to the same host is followed with the body", async (status) => {
    answer = (request, response) =>
      request.url === "/v2/chat" ? response.end(whole) : response.writeHead(status, { location: "/v2/chat" }).end();
    expect(String(await model().complete(ask, forever))).toBe(whole);
    expect(requests.at(-1)).toMatchObject({ path: "/v2/chat", body: ask.toString() });
  });

  test.each([
    ["to another host", 307, "http://127.0.0.1:1/v1/chat/completions"],
    ["to another scheme", 308, "https://127.0.0.1/v1/chat/completions"],
    ["without a scheme to another host", 308, "//127.0.0.1:1/v1"],
    ["that changes the method", 302, "/v2/chat"],
    ["without a place", 307, ""],
    ["to no address", 307, "http://["],
  ])("%s is refused in words, and nothing is sent there", async (_name, status, location) => {
    answer = reply(status, location === "" ? {} : { location });
    const failed = await failureOf(model({ apiKey: "sk-secret" }).complete(ask, forever));
    expect(failed).toMatchObject({ reason: ErrorReason.MODEL_FAILED, message: expect.stringContaining("redirects") });
    expect(requests).toHaveLength(1);
  });

  test("in a circle ends", async () => {
    answer = reply(307, { location: "/v1/chat/completions" });
    expect((await failureOf(model().complete(ask, forever))).message).toContain("redirects");
    expect(requests.length).toBeLessThan(10);
  });
});

describe("an address", () => {
  test("keeps its query and brings further headers", async () => {
    answer = reply(200, {}, whole);
    const azure = model({
      baseUrl: `${origin()}/openai/deployments/gpt/?api-version=2026-01-01`,
      apiKey: "k",
      headers: { "Api-Key": "secret", Authorization: "Other" },
    });
    await azure.complete(ask, forever);
    expect(requests[0]?.path).toBe("/openai/deployments/gpt/chat/completions?api-version=2026-01-01");
    expect(requests[0]?.headers).toMatchObject({ "api-key": "secret", authorization: "Other" });
    answer = reply(200, {}, '{"data":[]}');
    await azure.listModels(forever);
    expect(requests[1]?.path).toBe("/openai/deployments/gpt/models?api-version=2026-01-01");
  });
});

test("a name and a password in an address are sent as such", async () => {
  answer = reply(200, {}, whole);
  await model({ baseUrl: origin().replace("//", "//me:p%40ss@") }).complete(ask, forever);
  expect(requests[0]?.headers.authorization).toBe(`Basic ${Buffer.from("me:p@ss").toString("base64")}`);
});

describe("an error", () => {
  test("has the words, names and time of the endpoint", async () => {
    answer = reply(429, { "retry-after-ms": "61500" }, '{"error":{"message":"slow down","type":"tokens"}}');
    const failed = await failureOf(model().complete(ask, forever));
    expect(failed).toMatchObject({ reason: ErrorReason.MODEL_RATE_LIMITED, detail: { type: "tokens", retryAfterSeconds: 61.5 } });
    expect(requests).toHaveLength(1);
  });

  test("shows no key of ours", async () => {
    answer = (request, response) => response.writeHead(400).end(`{"error":"no ${request.headers.authorization}"}`);
    expect((await failureOf(model({ apiKey: "plainkey" }).complete(ask, forever))).message).not.toContain("plainkey");
    answer = (request, response) => response.writeHead(400).end(`{"error":"no ${request.headers["api-key"]}"}`);
    expect((await failureOf(model({ headers: { "Api-Key": "other" } }).complete(ask, forever))).message).not.toContain("other");
  });

  test.each([
    [402, "Insufficient Balance"],
    [429, "insufficient_quota"],
    [500, "the request exceeds the available context size"],
  ])("that will not pass is not repeated (%i, %s)", async (status, words) => {
    answer = reply(status, {}, JSON.stringify({ error: { message: words } }));
    await failureOf(model().complete(ask, forever));
    expect(requests).toHaveLength(1);
  });

  test("with an endless body is read in part", async () => {
    answer = (_request, response) => {
      response.writeHead(400);
      const more = () => {
        while (!response.destroyed && response.write("words ".repeat(10_000)));
      };
      response.on("drain", more);
      more();
    };
    expect((await failureOf(model().complete(ask, forever))).message).toMatch(/words .{900,}…/);
  });
});

describe("a silent endpoint", () => {
  test("fails when its head comes and no byte follows", async () => {
    answer = (_request, response) => response.writeHead(200).flushHeaders();
    const failed = await failureOf(model({ timeoutMs: 100 }).stream(ask, forever));
    expect(failed).toMatchObject({ reason: ErrorReason.MODEL_FAILED, message: expect.stringContaining("in time") });
    expect(requests).toHaveLength(1);
  });

  test.each([
    [": ping\n\n", "stream"],
    [" ", "complete"],
  ] as const)("fails although it sends %j now and then", async (sign, kind) => {
    answer = (_request, response) => {
      const timer = setInterval(() => response.write(sign), 20);
      response.writeHead(200).once("close", () => clearInterval(timer));
    };
    const client = model({ timeoutMs: 500 });
    const failed = await failureOf(kind === "stream" ? streamed(client) : client.complete(ask, forever));
    expect(failed).toMatchObject({ reason: ErrorReason.MODEL_FAILED, message: expect.stringContaining("nothing of an answer") });
  });
});
