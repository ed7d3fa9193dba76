import { ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { Client, credentials } from "@grpc/grpc-js";
import { AgentService } from "@turnwright/contract/agent/v1/agent_service";
import { afterEach, describe, expect, test } from "vitest";
import { detailOf, ErrorReason, fail, reasonOf } from "../errors.ts";
import { createLogger } from "../logger.ts";
import { startGrpcServer } from "./grpc-server.ts";
import { createGrpcTransport } from "./grpc-transport.ts";
import { createInProcessTransport } from "./in-process.ts";
import { mount } from "./mount.ts";

const logger = createLogger({ service: "test", level: "silent" });
const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Yields as many messages at once as asked for, of a size in bytes, then fails: `5 10` or `5 10 bug`. */
const agent = mount(AgentService, {
  async *streamTurn({ message }: { message: string }) {
    const [count, size, kind] = message.split(" ");
    for (let place = 0; place < Number(count); place++) yield { type: "content", delta: String(place).padEnd(Number(size), ".") };
    if (kind === "bug") throw new TypeError("secret");
    if (kind === "plain") throw new ConnectError("100 % lost\u2026", 14);
    throw fail(ErrorReason.MODEL_FAILED, "The model broke off: ünïcode.", { param: "model", retryAfterSeconds: 2.5 });
  },
} as never);

const serve = async () => {
  const server = await startGrpcServer({ mounts: [agent], interceptors: [], host: "127.0.0.1", port: 0, logger });
  cleanups.push(() => server.close(0));
  return `127.0.0.1:${server.port}`;
};

async function overGrpc(options: { windowBytes?: number } = {}): Promise<Transport> {
  const transport = createGrpcTransport({ addresses: [await serve()], ...options });
  cleanups.push(() => transport.close());
  return transport;
}

async function read(transport: Transport, message: string, onMessage?: () => Promise<unknown>) {
  const deltas: string[] = [];
  try {
    for await (const { delta } of createClient(AgentService, transport).streamTurn({ message })) {
      deltas.push(delta.replaceAll(".", ""));
      await onMessage?.();
    }
  } catch (error) {
    return { deltas, error: error as ConnectError };
  }
  throw new Error("The stream did not fail.");
}

const places = (count: number) => Array.from({ length: count }, (_, place) => String(place));
const turn = () => new Promise((resolve) => setImmediate(resolve));

describe.each<[string, () => Transport | Promise<Transport>]>([
  ["in the process", () => createInProcessTransport({ mounts: [agent] })],
  ["over gRPC", () => overGrpc()],
  ["over gRPC with a small window", () => overGrpc({ windowBytes: 65_536 })],
])("%s", (_name, open) => {
  test.each([
    [1, 1],
    [5, 10],
    [5, 5_000],
    [300, 10],
    [60, 20_000],
  ])("%i messages of %i bytes reach a reader before the error", async (count, size) => {
    const transport = await open();
    for (const onMessage of [undefined, turn]) {
      const { deltas, error } = await read(transport, `${count} ${size}`, onMessage);
      expect(deltas).toEqual(places(count));
      expect(reasonOf(error)).toBe(ErrorReason.MODEL_FAILED);
      expect(error.rawMessage).toBe("The model broke off: ünïcode.");
      expect(detailOf(error)).toMatchObject({ param: "model", retryAfterSeconds: 2.5 });
    }
  });

  test("an error without details keeps its code and words", async () => {
    const { deltas, error } = await read(await open(), "3 1 plain");
    expect({ deltas, code: error.code, message: error.rawMessage }).toEqual({
      deltas: places(3),
      code: 14,
      message: "100 % lost\u2026",
    });
  });

  test("an error before the first message is the call's", async () => {
    const { deltas, error } = await read(await open(), "0 0");
    expect(deltas).toEqual([]);
    expect(reasonOf(error)).toBe(ErrorReason.MODEL_FAILED);
  });
});

test("a bug of a handler shows no text of its own over gRPC", async () => {
  const { deltas, error } = await read(await overGrpc(), "5 10 bug");
  expect(deltas).toEqual(places(5));
  expect(error.rawMessage).not.toContain("secret");
});

test("a client of grpc-js with work to do gets the messages and the status", async () => {
  const count = 60;
  const client = new Client(await serve(), credentials.createInsecure());
  cleanups.push(() => client.close());
  const ask = () =>
    client.makeServerStreamRequest(
      "/turnwright.agent.v1.AgentService/StreamTurn",
      (text: string) => Buffer.concat([Buffer.from([0x12, text.length]), Buffer.from(text)]),
      (bytes: Buffer) => bytes.length,
      `${count} 10`,
    );
  for (let round = 0; round < 3; round++) {
    let messages = 0;
    let error: { code?: number; details?: string } = {};
    try {
      for await (const _message of ask()) {
        messages += 1;
        await turn();
      }
    } catch (thrown) {
      error = thrown as typeof error;
    }
    expect({ messages, code: error.code, details: error.details }).toEqual({
      messages: count,
      code: 14,
      details: "The model broke off: ünïcode.",
    });
  }
});
