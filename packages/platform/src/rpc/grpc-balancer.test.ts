import { createServer } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import { AgentService } from "@turnwright/contract/agent/v1/agent_service";
import { afterEach, describe, expect, test } from "vitest";
import { startFreezableProxy } from "../../testing/freezable-proxy.ts";
import { testClients } from "../../testing/plane.ts";
import { createLogger } from "../logger.ts";
import { type GrpcServer, startGrpcServer } from "./grpc-server.ts";
import { createGrpcTransport, type GrpcTransportOptions } from "./grpc-transport.ts";
import { mount } from "./mount.ts";

const logger = createLogger({ service: "test", level: "silent" });
const cleanups: (() => unknown)[] = [];
const send = { conversationId: "0190a000-0000-7000-8000-0000000000c0", message: "hi" };
const timeoutMs = 20_000;

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** An instance that answers with its name, and holds every message `hold` until `release`. */
async function serve(name: string, place: { host?: string; port?: number } = {}) {
  const held = Promise.withResolvers<void>();
  const counts = { held: 0 };
  const mounts = [
    mount(AgentService, {
      listAgents: () => ({ agents: [{ name }] }),
      async sendMessage({ message }: { message: string }) {
        if (message === "hold") {
          counts.held += 1;
          await held.promise;
        }
        return { response: name };
      },
    } as never),
  ];
  const { host = "127.0.0.1", port = 0 } = place;
  const server: GrpcServer = await startGrpcServer({ mounts, interceptors: [], host, port, logger });
  cleanups.push(
    () => server.close(0),
    () => held.resolve(),
  );
  return { server, port: server.port, counts };
}

async function freezable(port: number) {
  const proxy = await startFreezableProxy(port);
  cleanups.push(() => proxy.close());
  return proxy;
}

function open(options: GrpcTransportOptions) {
  const transport = createGrpcTransport(options);
  cleanups.push(() => transport.close());
  const { agent } = testClients(transport);
  const ask = async () => (await agent.listAgents({}, { timeoutMs })).agents[0]?.name ?? "";
  return { agent, ask };
}

const local = (...ports: number[]) => ({ addresses: ports.map((port) => `127.0.0.1:${port}`) });

/** Asks until the answers of a round are from exactly these instances. */
async function untilAnsweredBy(ask: () => Promise<string>, names: readonly string[]): Promise<void> {
  const round = async () => {
    const answers = new Set<string>();
    for (let call = 0; call < 2 * names.length + 2; call += 1) answers.add(await ask());
    return [...answers].sort();
  };
  await expect.poll(round, { timeout: 20_000, interval: 10 }).toEqual(names.toSorted());
}

describe("a frozen instance", () => {
  test("gets no call after two seconds, loses none that may move, and takes calls again once it runs", async () => {
    const [frozen, alive] = [await serve("frozen"), await serve("alive")];
    const proxy = await freezable(frozen.port);
    const { agent, ask } = open(local(proxy.port, alive.port));
    await untilAnsweredBy(ask, ["frozen", "alive"]);

    const isHeld = agent.sendMessage({ ...send, message: "hold" }, { timeoutMs });
    const alsoHeld = agent.sendMessage({ ...send, message: "hold" }, { timeoutMs });
    const cut = Promise.race([isHeld, alsoHeld]).catch((error: unknown) => error);
    await expect.poll(() => frozen.counts.held + alive.counts.held).toBe(2);
    proxy.freeze();
    const frozenAt = performance.now();
    const keyed = agent.sendMessage(send, { timeoutMs, headers: { "idempotency-key": "one" } });
    const late: number[] = [];
    while (performance.now() - frozenAt < 3_000) {
      const askedAt = performance.now();
      // Every call of a client is answered, those that were sent to the frozen instance by the other one.
      expect((await Promise.all([ask(), ask(), ask(), ask()])).every((name) => name === "alive")).toBe(true);
      if (askedAt - frozenAt > 2_000) late.push(performance.now() - askedAt);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect((await keyed).response).toBe("alive");
    expect(late.length).toBeGreaterThan(0);
    expect(Math.max(...late)).toBeLessThan(900);

    // A call that may not be made twice is neither repeated nor kept waiting for its deadline.
    const error = await cut;
    expect(error).toBeInstanceOf(ConnectError);
    expect((error as ConnectError).code).toBe(Code.Unavailable);
    expect(performance.now() - frozenAt).toBeLessThan(9_000);
    expect(frozen.counts.held + alive.counts.held).toBe(2);

    proxy.thaw();
    await untilAnsweredBy(ask, ["frozen", "alive"]);
  }, 30_000);

  test("that is the only one keeps its calls and answers them later", async () => {
    const { port } = await serve("only");
    const proxy = await freezable(port);
    const { ask } = open(local(proxy.port));
    await ask();
    proxy.freeze();
    const call = ask();
    // Longer than an instance may be silent. Nothing tells that a call is kept.
    const early = await Promise.race([call, delay(1_800, "waits")]);
    expect(early).toBe("waits");
    proxy.thaw();
    expect(await call).toBe("only");
  });

  test("that is found frozen by the first call fails nothing", async () => {
    const [frozen, alive] = [await serve("frozen"), await serve("alive")];
    const proxy = await freezable(frozen.port);
    proxy.freeze();
    const { agent } = open(local(proxy.port, alive.port));
    const answers = await Promise.all(Array.from({ length: 8 }, () => agent.sendMessage(send, { timeoutMs })));
    expect(answers.map(({ response }) => response)).toEqual(Array.from({ length: 8 }, () => "alive"));
  });
});

describe("an instance that does not serve", () => {
  test("gets no call while another one serves, and all of them when none does", async () => {
    const [one, two] = [await serve("one"), await serve("two")];
    const { ask } = open(local(one.port, two.port));
    await untilAnsweredBy(ask, ["one", "two"]);
    one.server.setServing(false);
    await untilAnsweredBy(ask, ["two"]);
    two.server.setServing(false);
    await untilAnsweredBy(ask, ["one", "two"]);
    one.server.setServing(true);
    await untilAnsweredBy(ask, ["one"]);
  }, 20_000);
});

/** A port that is free on several addresses of the loopback network. */
async function sharedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.2", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe("a name", () => {
  test("is resolved again: instances that are added take calls, those that are removed take none", async () => {
    const port = await sharedPort();
    const hosts = ["127.0.0.2", "127.0.0.3", "127.0.0.4"];
    for (const host of hosts) await serve(host, { host, port });
    let answer: Promise<readonly { address: string; family: number }[]>;
    const resolveTo = (addresses: readonly string[]) => {
      answer = Promise.resolve(addresses.map((address) => ({ address, family: 4 })));
    };
    resolveTo(hosts.slice(0, 1));
    const { ask } = open({ addresses: [`parts.test:${port}`], lookup: () => answer, resolveEveryMs: 50 });
    await untilAnsweredBy(ask, hosts.slice(0, 1));
    resolveTo(hosts);
    await untilAnsweredBy(ask, hosts);
    // Known instances stay while the name cannot be resolved.
    answer = Promise.reject(new Error("no such name"));
    answer.catch(() => {});
    await untilAnsweredBy(ask, hosts);
    resolveTo(hosts.slice(1));
    await untilAnsweredBy(ask, hosts.slice(1));
  }, 20_000);

  test("is resolved within ten seconds unless told otherwise, and at once when no instance answers", async () => {
    const port = await sharedPort();
    let hosts = ["127.0.0.2"];
    const old = await serve("old", { host: "127.0.0.2", port });
    await serve("new", { host: "127.0.0.3", port });
    const lookup = async () => hosts.map((address) => ({ address, family: 4 }));
    const { ask } = open({ addresses: [`parts.test:${port}`], lookup });
    expect(await ask()).toBe("old");
    hosts = ["127.0.0.3"];
    await old.server.close(0);
    const askedAt = performance.now();
    expect(await ask()).toBe("new");
    expect(performance.now() - askedAt).toBeLessThan(4_000);
  });

  test("that the resolver is silent about keeps no call beyond its deadline, nor one whose client has gone", async () => {
    const silent = new Promise<never>(() => {});
    const { agent } = open({ addresses: ["parts.test:1"], lookup: () => silent });
    const late = agent.listAgents({}, { timeoutMs: 50 }).catch((error: unknown) => ConnectError.from(error).code);
    const left = new AbortController();
    const gone = agent.listAgents({}, { signal: left.signal }).catch((error: unknown) => ConnectError.from(error).code);
    left.abort();
    expect(await Promise.all([late, gone])).toEqual([Code.DeadlineExceeded, Code.Canceled]);
  });
});
