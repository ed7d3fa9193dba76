import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { gzipSync } from "node:zlib";
import { detailOf, ErrorReason, reasonOf } from "@turnwright/platform/errors";
import { type ScriptedModel, startScriptedModel, streamedFrames, wholeCompletion } from "@turnwright/testing/scripted-model";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ModelClient } from "../model-client.ts";
import { createHttpModel } from "./http-model.ts";

let endpoint: ScriptedModel;
const clients: ModelClient[] = [];

function modelAt(baseUrl: string, options: { apiKey?: string; timeoutMs?: number } = {}): ModelClient {
  const model = createHttpModel({ baseUrl, timeoutMs: 5_000, connections: 4, retryDelayMs: 1, ...options });
  clients.push(model);
  return model;
}

const bodyOf = (value: object) => Buffer.from(JSON.stringify({ messages: [], ...value }));
const ask = bodyOf({});
const askStream = bodyOf({ stream: true });
const forever = new AbortController().signal;

async function all(pieces: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const piece of pieces) chunks.push(piece);
  return Buffer.concat(chunks).toString();
}

const failureOf = (work: Promise<unknown>) =>
  work.then(
    () => expect.fail("it succeeded"),
    (error: unknown) => ({ reason: reasonOf(error), message: (error as Error).message, detail: detailOf(error) }),
  );

beforeEach(async () => {
  endpoint = await startScriptedModel({ models: ["one", "two"] });
});

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
  await endpoint.close();
});

describe("a request", () => {
  test("carries the body unchanged and the key, and goes to /v1 whether or not the address names it", async () => {
    const paths = [];
    for (const suffix of ["", "/", "/v1", "/v1/"]) {
      endpoint.reply({ text: "hi" });
      const model = modelAt(`${endpoint.url}${suffix}`, { apiKey: "sk-secret" });
      expect((await model.complete(ask, forever)).toString()).toBe(wholeCompletion({ text: "hi" }));
      paths.push(endpoint.requests.at(-1)?.path);
    }
    expect(new Set(paths)).toEqual(new Set(["/v1/chat/completions"]));
    expect(endpoint.requests[0]?.headers).toMatchObject({
      authorization: "Bearer sk-secret",
      "content-type": "application/json",
    });
    expect(endpoint.requests[0]?.bytes.equals(ask)).toBe(true);
  });

  test("keeps another path of the address, and sends no key when none is set", async () => {
    endpoint.reply({ text: "hi" });
    await modelAt(`${endpoint.url}/proxy/openai/`).complete(ask, forever);
    expect(endpoint.requests[0]?.path).toBe("/proxy/openai/chat/completions");
    expect(endpoint.requests[0]?.headers.authorization).toBeUndefined();
  });

  test("streams the endpoint's bytes as they arrive", async () => {
    const gate = Promise.withResolvers<void>();
    endpoint.reply({ text: "one two", pauseAfter: { pieces: 2, gate: gate.promise } });
    const pieces = await modelAt(endpoint.url).stream(askStream, forever);
    const iterator = pieces[Symbol.asyncIterator]();
    const first = await iterator.next();
    expect(String(first.value)).toContain("data: ");
    gate.resolve();
    const frames = streamedFrames({ text: "one two" }).join("");
    expect(String(first.value) + (await all({ [Symbol.asyncIterator]: () => iterator }))).toBe(frames);
  });

  test("lists models", async () => {
    expect(await modelAt(`${endpoint.url}/v1`).listModels(forever)).toEqual(["one", "two"]);
    expect(endpoint.requests[0]).toMatchObject({ method: "GET", path: "/v1/models" });
  });
});

describe("retries", () => {
  test.each([500, 503, 429, 408])("follow status %i", async (status) => {
    endpoint.reply({ status }, { status }, { text: "at last" });
    expect(String(await modelAt(endpoint.url).complete(ask, forever))).toContain("at last");
    expect(endpoint.requests).toHaveLength(3);
    expect(endpoint.requests.every(({ bytes }) => bytes.equals(ask))).toBe(true);
  });

  test("follow a connection that was refused", async () => {
    const server = createTcpServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    server.close();
    await once(server, "close");
    const failed = await failureOf(modelAt(`http://127.0.0.1:${port}`).complete(ask, forever));
    expect(failed).toMatchObject({ reason: ErrorReason.MODEL_FAILED, message: expect.stringContaining("does not answer") });
  });

  test("follow a connection that broke before the head", async () => {
    let attempts = 0;
    const server = createServer((request, response) => {
      attempts++;
      if (attempts === 1) request.socket.destroy();
      else response.writeHead(200, { "content-type": "application/json" }).end(wholeCompletion({ text: "again" }));
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const model = modelAt(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    expect(String(await model.complete(ask, forever))).toContain("again");
    expect(attempts).toBe(2);
    await model.close();
    server.close();
  });

  test("end after two, with the endpoint's Retry-After for a rate limit", async () => {
    const limited = { status: 429, error: "slow down", headers: { "retry-after": "0.01" } };
    endpoint.reply(limited, limited, limited);
    expect(await failureOf(modelAt(endpoint.url).complete(ask, forever))).toMatchObject({
      reason: ErrorReason.MODEL_RATE_LIMITED,
      message: expect.stringContaining("slow down"),
      detail: { retryAfterSeconds: 0.01 },
    });
    expect(endpoint.requests).toHaveLength(3);
  });

  test("wait for the time in Retry-After", async () => {
    endpoint.reply({ status: 503, headers: { "retry-after": "0.05" } }, { text: "ok" });
    const started = performance.now();
    await modelAt(endpoint.url).complete(ask, forever);
    expect(performance.now() - started).toBeGreaterThanOrEqual(49);
  });

  test("do not wait for a long Retry-After: it is passed on at once", async () => {
    endpoint.reply({ status: 429, headers: { "retry-after": "60" } });
    const failed = await failureOf(modelAt(endpoint.url).complete(ask, forever));
    expect(failed).toMatchObject({ reason: ErrorReason.MODEL_RATE_LIMITED, detail: { retryAfterSeconds: 60 } });
    expect(endpoint.requests).toHaveLength(1);
  });

  test("are not made once the answer has begun", async () => {
    endpoint.reply({ text: "one two three", cutAfter: 2 }, { text: "never" });
    const pieces = await modelAt(endpoint.url).stream(askStream, forever);
    expect(await failureOf(all(pieces))).toMatchObject({
      reason: ErrorReason.MODEL_FAILED,
      message: expect.stringContaining("broke off its stream"),
    });
    expect(endpoint.requests).toHaveLength(1);
  });

  test("are not made after an answer that broke off in the middle", async () => {
    endpoint.reply({ raw: ['{"id":', '"x"'], cutAfter: 1 }, { text: "never" });
    expect(await failureOf(modelAt(endpoint.url).complete(ask, forever))).toMatchObject({
      reason: ErrorReason.MODEL_FAILED,
      message: expect.stringContaining("broke off its answer"),
    });
    expect(endpoint.requests).toHaveLength(1);
  });
});

describe("refusals", () => {
  test("pass on the endpoint's text about the caller's request", async () => {
    endpoint.reply({ status: 400, error: "'temperature' does not fit" });
    expect(await failureOf(modelAt(endpoint.url).complete(ask, forever))).toMatchObject({
      reason: ErrorReason.MODEL_REJECTED,
      message: expect.stringContaining("'temperature' does not fit"),
    });
    expect(endpoint.requests).toHaveLength(1);
  });

  test.each([401, 403])("hide the endpoint's text about our credentials (%i)", async (status) => {
    endpoint.reply({ status, error: "Incorrect API key provided: sk-secret" });
    const failed = await failureOf(modelAt(endpoint.url, { apiKey: "sk-secret" }).complete(ask, forever));
    expect(failed.reason).toBe(ErrorReason.MODEL_FAILED);
    expect(failed.message).not.toContain("sk-secret");
    expect(endpoint.requests).toHaveLength(1);
  });

  test("hide a server's error page", async () => {
    endpoint.reply({ status: 404, raw: ["<html>nginx</html>"], contentType: "text/html" });
    const failed = await failureOf(modelAt(endpoint.url).complete(ask, forever));
    expect(failed).toMatchObject({ reason: ErrorReason.MODEL_NOT_FOUND, message: expect.stringContaining("answered 404") });
    expect(failed.message).not.toContain("nginx");
  });
});

describe("an endpoint that is silent", () => {
  test("fails before its head, without a retry", async () => {
    const gate = Promise.withResolvers<void>();
    endpoint.reply({ beforeHeaders: gate.promise, text: "late" });
    const failed = await failureOf(modelAt(endpoint.url, { timeoutMs: 50 }).complete(ask, forever));
    expect(failed).toMatchObject({ reason: ErrorReason.MODEL_FAILED, message: expect.stringContaining("in time") });
    expect(await (await endpoint.request(0)).aborted).toBe(true);
    expect(endpoint.requests).toHaveLength(1);
    gate.resolve();
  });

  test("fails in mid-stream", async () => {
    const gate = Promise.withResolvers<void>();
    endpoint.reply({ text: "one two", pauseAfter: { pieces: 2, gate: gate.promise } });
    const pieces = await modelAt(endpoint.url, { timeoutMs: 50 }).stream(askStream, forever);
    expect((await failureOf(all(pieces))).reason).toBe(ErrorReason.MODEL_FAILED);
    gate.resolve();
  });
});

describe("a caller that leaves", () => {
  test("closes the connection before the head", async () => {
    const gate = Promise.withResolvers<void>();
    endpoint.reply({ beforeHeaders: gate.promise });
    const controller = new AbortController();
    const work = modelAt(endpoint.url).complete(ask, controller.signal);
    const request = await endpoint.request(0);
    const gone = new Error("gone");
    controller.abort(gone);
    await expect(work).rejects.toBe(gone);
    expect(await request.aborted).toBe(true);
    gate.resolve();
  });

  test("closes the connection in mid-stream, also when it does not read", async () => {
    const gate = Promise.withResolvers<void>();
    endpoint.reply({ text: "one two", pauseAfter: { pieces: 2, gate: gate.promise } });
    const controller = new AbortController();
    const pieces = await modelAt(endpoint.url).stream(askStream, controller.signal);
    await pieces[Symbol.asyncIterator]().next();
    controller.abort(new Error("gone"));
    expect(await (await endpoint.request(0)).aborted).toBe(true);
    gate.resolve();
  });

  test("closes the connection by ending the iteration", async () => {
    const gate = Promise.withResolvers<void>();
    endpoint.reply({ text: "one two", pauseAfter: { pieces: 2, gate: gate.promise } });
    for await (const _piece of await modelAt(endpoint.url).stream(askStream, forever)) break;
    expect(await (await endpoint.request(0)).aborted).toBe(true);
    gate.resolve();
  });

  test("is noticed during the pause before a retry, with its own reason", async () => {
    endpoint.reply({ status: 503, headers: { "retry-after": "4" } });
    const controller = new AbortController();
    const work = modelAt(endpoint.url).complete(ask, controller.signal);
    await (await endpoint.request(0)).aborted;
    const gone = new Error("gone");
    controller.abort(gone);
    await expect(work).rejects.toBe(gone);
  });

  test("costs no request when it left before", async () => {
    const gone = new Error("gone");
    await expect(modelAt(endpoint.url).complete(ask, AbortSignal.abort(gone))).rejects.toBe(gone);
    expect(endpoint.requests).toHaveLength(0);
  });
});

test("a slow reader holds the endpoint back and gets every byte", async () => {
  const block = "x".repeat(100_000);
  endpoint.reply({ raw: Array.from({ length: 60 }, () => block) });
  let length = 0;
  for await (const piece of await modelAt(endpoint.url).stream(askStream, forever)) {
    length += piece.length;
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(length).toBe(6_000_000);
});

test("an answer in a chain of encodings is refused without being decoded (CVE-2026-22036)", async () => {
  const bomb = gzipSync(gzipSync(gzipSync(Buffer.alloc(20_000_000))));
  const server = createServer((_request, response) => {
    const encodings = Array(1_000).fill("gzip").join(", ");
    response.writeHead(200, { "content-type": "application/json", "content-encoding": encodings }).end(bomb);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    const model = modelAt(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    const answer = await model.complete(ask, forever).then(
      (bytes) => bytes.length,
      () => 0,
    );
    // The undecoded bytes at most; parsing them as JSON fails.
    expect(answer).toBeLessThanOrEqual(bomb.length);
  } finally {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  }
});
