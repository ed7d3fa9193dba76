import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { chunk, done, sse, stop } from "../../../testing/answers.ts";
import { AnswerReader } from "../edge/answer-reader.ts";
import type { ModelClient } from "../model-client.ts";
import { createHttpModel } from "./http-model.ts";

const answer = sse(chunk({ role: "assistant", content: "hello" }), stop, done);
let respond: (response: ServerResponse) => void;
let connections: number;
let closed: number;
let model: ModelClient;
const server = createServer((request, response) => {
  request.resume().on("end", () => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    respond(response);
  });
});
server.on("connection", (socket) => {
  connections += 1;
  socket.on("close", () => {
    closed += 1;
  });
});

beforeEach(async () => {
  connections = 0;
  closed = 0;
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  model = createHttpModel({ baseUrl, timeoutMs: 5_000, connections: 1 });
});
afterEach(async () => {
  await model.close();
  server.closeAllConnections();
  server.close();
  await once(server, "close");
});

/** Reads a stream as model calls do: up to [DONE]. */
async function read(): Promise<string> {
  const reader = new AnswerReader();
  for await (const piece of await model.stream(Buffer.from('{"messages":[]}'), new AbortController().signal)) {
    if (reader.push(piece).isDone) break;
  }
  expect(reader.end().failure).toBeUndefined();
  return reader.answer.content;
}

test("a stream that is left at [DONE] keeps its connection when its end follows", async () => {
  let open: ServerResponse | undefined;
  respond = (response) => {
    open = response;
    response.write(answer);
  };
  for (let at = 0; at < 5; at++) {
    expect(await read()).toBe("hello");
    open?.end();
  }
  expect(connections).toBe(1);
});

test("a stream whose end does not follow [DONE] gives its connection back soon, and its reader does not wait for it", async () => {
  respond = (response) => {
    response.write(answer);
  };
  const started = performance.now();
  expect(await read()).toBe("hello");
  expect(performance.now() - started).toBeLessThan(900);
  await expect.poll(() => closed, { timeout: 4_000 }).toBe(1);
});

test("a stream that is left before its end is closed at once", async () => {
  respond = (response) => {
    response.write(sse(chunk({ role: "assistant", content: "hello" })));
  };
  for await (const piece of await model.stream(Buffer.from('{"messages":[]}'), new AbortController().signal)) {
    expect(String(piece)).toContain("hello");
    break;
  }
  await expect.poll(() => closed, { timeout: 500 }).toBe(1);
});
