import { create } from "@bufbuild/protobuf";
import { RunContextSchema } from "@turnwright/contract/conversation/v1/run";
import { createLogger } from "@turnwright/platform/logger";
import { uuidv7 } from "@turnwright/platform/uuid";
import { type RedisServer, startRedisServer } from "@turnwright/testing/redis-server";
import { reportUntested } from "@turnwright/testing/untested";
import { Queue } from "bullmq";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ClaimDeps, Dispatcher } from "./dispatch.ts";
import { createBullDispatcher } from "./dispatch-bullmq.ts";

const available = await startRedisServer();
await available?.stop();
if (available === undefined) reportUntested("the dispatch of runs over Redis", "Redis");

describe.skipIf(available === undefined)("runs that are dispatched over Redis", () => {
  let server: RedisServer;
  let open: Dispatcher[];
  /** The claims: run, worker, and time in milliseconds. */
  let claims: { runId: string; worker: string; at: number }[];

  beforeEach(async () => {
    server = (await startRedisServer()) as RedisServer;
    open = [];
    claims = [];
  });
  afterEach(async () => {
    for (const dispatcher of open) await dispatcher.close();
    await server.stop();
  });

  /** A process whose journal gives each run to the first worker that claims it. */
  function startProcess(
    worker: string,
    init: { hasRoom?: () => boolean; system?: string; otherNames?: string[] } = {},
  ): Dispatcher {
    const journal = {
      async claimRun({ runId }: { runId: string }) {
        if (claims.some((claim) => claim.runId === runId)) return {};
        claims.push({ runId, worker, at: Date.now() });
        return { context: create(RunContextSchema) };
      },
    } as unknown as ClaimDeps["journal"];
    const dispatcher = createBullDispatcher({
      journal,
      workerId: uuidv7(),
      graphVersions: { newest: 1, oldest: 1 },
      hasRoom: init.hasRoom ?? (() => true),
      logger: createLogger({ service: "test", level: "silent" }),
      redisUrl: server.url,
      system: init.system ?? "test",
      otherNames: init.otherNames,
    });
    dispatcher.start(() => {});
    open.push(dispatcher);
    return dispatcher;
  }

  const claimed = (count: number, timeout = 10_000) => expect.poll(() => claims.length, { timeout }).toBe(count);

  /** Waits until Redis holds so many jobs that are not due yet. */
  async function delayed(count: number, system = "test"): Promise<void> {
    const connection = { host: "127.0.0.1", port: server.port };
    const queue = new Queue("runs", { connection, prefix: `turnwright:${system}`, skipVersionCheck: true });
    await expect.poll(() => queue.getDelayedCount(), { timeout: 5_000, interval: 10 }).toBe(count);
    await queue.close();
  }

  test("are claimed once each, by all processes that there are", async () => {
    const processes = ["a", "b", "c"].map((name) => startProcess(name));
    const ids = Array.from({ length: 120 }, () => uuidv7());
    for (const [index, id] of ids.entries()) processes[index % 3]?.dispatch(id);
    await claimed(120);
    expect(new Set(claims.map(({ runId }) => runId)).size).toBe(120);
    expect(new Set(claims.map(({ worker }) => worker)).size).toBeGreaterThan(1);
  });

  test("with a delay are claimed after it, even if the process that dispatched them has left", async () => {
    const leaver = startProcess("leaver", { hasRoom: () => false });
    const began = Date.now();
    leaver.dispatch(uuidv7(), 1_500);
    await delayed(1);
    await leaver.close();
    startProcess("stayer");
    await claimed(1);
    expect(claims[0]?.worker).toBe("stayer");
    expect((claims[0]?.at ?? 0) - began).toBeGreaterThanOrEqual(1_490);
  });

  test("go to a process that has room", async () => {
    let isFull = true;
    const full = startProcess("full", { hasRoom: () => !isFull });
    full.dispatch(uuidv7());
    // The full process has taken the job and put it back.
    await delayed(1);
    expect(claims).toEqual([]);
    startProcess("empty");
    await claimed(1);
    isFull = false;
    for (let n = 0; n < 20; n++) full.dispatch(uuidv7());
    await claimed(21);
  });

  test("stay within their own system when two share a Redis", async () => {
    startProcess("theirs", { system: "other" });
    const ours = startProcess("ours");
    for (let n = 0; n < 20; n++) ours.dispatch(uuidv7());
    await claimed(20);
    expect(new Set(claims.map(({ worker }) => worker))).toEqual(new Set(["ours"]));
  });

  test("are claimed across processes while the secret that names their queue is replaced", async () => {
    const isFull = { hasRoom: () => false };
    // Step 1, add: the process with the old secret leaves two jobs, one of which is not due yet.
    const old = startProcess("old", { system: "test", otherNames: ["new"], ...isFull });
    old.dispatch(uuidv7());
    old.dispatch(uuidv7(), 1_000);
    await delayed(2);
    // A full process would go on taking them, and putting them back.
    await old.close();
    // Step 2, swap: processes that send under the new name take jobs of both.
    const swapped = startProcess("swapped", { system: "new", otherNames: ["test"] });
    await claimed(2);
    await swapped.close();
    const full = startProcess("swapped and full", { system: "new", otherNames: ["test"], ...isFull });
    full.dispatch(uuidv7());
    await delayed(1, "new");
    await full.close();
    // A process that still sends under the old name takes theirs, too.
    startProcess("old again", { system: "test", otherNames: ["new"] });
    await claimed(3);
    expect(claims.map(({ worker }) => worker)).toEqual(["swapped", "swapped", "old again"]);
  });

  test("are claimed by this process itself while Redis is away, and over Redis when it is back", async () => {
    const dispatcher = startProcess("a");
    dispatcher.dispatch(uuidv7());
    await claimed(1);
    await server.stop();
    dispatcher.dispatch(uuidv7());
    dispatcher.dispatch(uuidv7(), 200);
    await claimed(3);
    server = (await startRedisServer({ port: server.port })) as RedisServer;
    const other = startProcess("b");
    other.dispatch(uuidv7());
    await claimed(4);
    dispatcher.dispatch(uuidv7());
    await claimed(5);
  });
});
