import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { migratedServices } from "@turnwright/platform/postgres/migrations";
import { createTestDatabase, openTestPool, type TestDatabase } from "@turnwright/testing/database";
import { type FaultProxy, faultProxy } from "@turnwright/testing/fault-proxy";
import { testRedis } from "@turnwright/testing/redis";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { restApi } from "../e2e/api.ts";
import { accepts } from "../mesh/part.ts";
import { type BurstModel, startBurstModel } from "./burst-model.ts";
import { type BurstStage, bursts, type Policy } from "./double-text.ts";
import { drainUnderLoad } from "./drain.ts";
import { pacedAnswer, words } from "./paced-model.ts";
import { createPatientClient } from "./patient-client.ts";
import { type ReplicatedMesh, startReplicatedMesh } from "./replicated-mesh.ts";

const redis = await testRedis("bursts of messages, outages of the database and SIGTERM in a mesh with two replicas each");

/** Words of an answer, 50 ms each: it is still being spoken when the outage ends. */
const length = 160;

/** Whether the database has heard of no worker for 5 s, well beyond the 3 s that count as silence. */
async function workersAreSilent(url: string): Promise<boolean> {
  const db = new pg.Client({ connectionString: url });
  await db.connect();
  const { rows } = await db.query("select bool_and(seen_at < now() - interval '5 seconds') as silent from conversation.workers");
  await db.end();
  return rows[0]?.silent === true;
}

// All suites use one mesh, because its start costs more than most of them.
describe.skipIf(redis === undefined)("a mesh with two replicas each", () => {
  let dir: string;
  let database: TestDatabase;
  let proxy: FaultProxy;
  let model: BurstModel;
  let mesh: ReplicatedMesh;
  /** A page that answers on demand. */
  let page: Server;
  let pageUrl: string;
  let answerPage: () => void;

  beforeAll(async () => {
    const gate = new Promise<void>((resolve) => {
      answerPage = resolve;
    });
    page = createServer((_request, response) => void gate.then(() => response.end("the page")));
    page.listen(0, "127.0.0.1");
    await once(page, "listening");
    const allowedHost = `127.0.0.1:${(page.address() as AddressInfo).port}`;
    pageUrl = `http://${allowedHost}/`;
    dir = mkdtempSync(join(tmpdir(), "turnwright-replicas-"));
    database = await createTestDatabase({ services: migratedServices });
    proxy = await faultProxy(new URL(database.url));
    model = await startBurstModel(pacedAnswer);
    const stores = { databaseUrl: proxy.url, redisUrl: redis ?? "" };
    mesh = await startReplicatedMesh({ dir, ...stores, limit: "2s", allowedHost, model, env: { DB_ROLE_PREFIX: "turnwright" } });
  }, 120_000);
  afterAll(async () => {
    await mesh?.stop();
    page?.close();
    proxy?.close();
    await database?.drop();
    rmSync(dir, { recursive: true, force: true });
  });

  describe("many concurrent messages to one conversation over two gateways", () => {
    let db: pg.Pool;
    let stage: BurstStage;

    beforeAll(async () => {
      db = openTestPool(database.url, 2);
      const api = restApi(mesh.gateways[0] ?? "");
      await api.register("texts@example.com", "correct-horse-battery");
      const { accessToken } = await api.login("texts@example.com", "correct-horse-battery");
      stage = { gateways: mesh.gateways, token: accessToken, model, db };
    });
    afterAll(() => db?.end());

    const play = (policy: Policy) => bursts(stage, { name: policy, policy, conversations: 2, messages: 10 });

    test("are answered one by one in order of acceptance under `enqueue`", async () => {
      expect(await play("enqueue")).toMatchObject({ sent: 20, answered: 20, faults: [] });
    }, 60_000);

    test("are refused and not stored while one is being answered under `reject`", async () => {
      expect(await play("reject")).toMatchObject({ sent: 20, answered: 2, rejected: 18, faults: [] });
    }, 60_000);

    test("stop the answer in progress under `interrupt`, and the last one is answered", async () => {
      const figures = await play("interrupt");
      expect(figures).toMatchObject({ sent: 20, faults: [] });
      expect(figures.cancelled).toBeGreaterThan(0);
    }, 60_000);
  });

  describe("an outage of the database", () => {
    test("takes no run from a live worker, and no watcher gets an answer twice", async () => {
      const client = await createPatientClient(mesh.gateways[0] ?? "");
      const begun = await Promise.all(
        Array.from({ length: 6 }, () => client.call("POST", "/v1/runs", { message: `say ${length}` })),
      );
      const watchers = begun.map(({ data }) => client.watch(data.run.id));
      await expect
        .poll(() => watchers.every((watcher) => watcher.text().includes("word5")), { timeout: 10_000, interval: 20 })
        .toBe(true);
      await proxy.refuse();
      await expect.poll(() => workersAreSilent(database.url), { timeout: 20_000, interval: 100 }).toBe(true);
      await proxy.accept();
      await Promise.all(watchers.map((watcher) => watcher.ended));
      for (const watcher of watchers) {
        expect(watcher.text()).toBe(words(length).join(" "));
        expect(watcher.types).not.toContain("reset");
      }
      const db = new pg.Client({ connectionString: database.url });
      await db.connect();
      const ids = begun.map(({ data }) => data.run.id);
      const { rows } = await db.query("select epoch, status from conversation.runs where run_id = any($1)", [ids]);
      await db.end();
      client.close();
      expect(rows.map(({ epoch, status }) => [epoch, status])).toEqual(Array(6).fill([rows[0]?.epoch, "completed"]));
    }, 60_000);
  });

  describe("SIGTERM to a process", () => {
    test("lets an executor's tools finish and delivers their results", async () => {
      const api = restApi(mesh.gateways[0] ?? "");
      await api.register("tools@example.com", "correct-horse-battery");
      const { accessToken } = await api.login("tools@example.com", "correct-horse-battery");
      // Connects the gateway to both executors.
      await api.listTools(accessToken);
      const asked = Promise.withResolvers<void>();
      let waiting = 0;
      page.on("request", () => {
        waiting += 1;
        if (waiting === 6) asked.resolve();
      });
      const calls = Array.from({ length: 6 }, () => api.executeTool(accessToken, "fetch_url", { url: pageUrl }));
      await asked.promise;
      const executors = mesh.replicas.filter(({ name }) => name.startsWith("tool-executor"));
      const endings = executors.map((replica) => replica.terminate());
      await expect.poll(() => Promise.all(executors.map(({ port }) => accepts(port))), { interval: 20 }).toEqual([false, false]);
      answerPage();
      for (const result of await Promise.all(calls)) expect(JSON.stringify(result)).toContain("the page");
      expect((await Promise.all(endings)).map(({ code }) => code)).toEqual([0, 0]);
      await Promise.all(executors.map((replica) => replica.start()));
    }, 60_000);

    test("hands over an orchestrator's runs within about a second when they outlast its limit", async () => {
      const api = restApi(mesh.gateways[0] ?? "");
      await api.register("handover@example.com", "correct-horse-battery");
      const { accessToken } = await api.login("handover@example.com", "correct-horse-battery");
      // Connects the gateway to both orchestrators.
      await api.complete(accessToken, { model: "gpt-4o-mini", messages: [{ role: "user", content: "hello" }] });
      const turns = Array.from({ length: 8 }, () => api.createConversation(accessToken, "say 50").catch(String));
      await expect.poll(async () => (await api.listConversations(accessToken)).ids.length, { timeout: 10_000 }).toBe(8);
      const first = mesh.replicas.find(({ name }) => name === "agent-orchestrator-1");
      expect((await first?.terminate())?.code).toBe(0);
      const handedOverAt = performance.now();
      const told = (await Promise.all(turns)).filter((turn) => typeof turn === "string");
      expect(told.length).toBeGreaterThan(0);
      for (const error of told) expect(error).toContain("503 RUN_HANDED_OVER");
      const { ids } = await api.listConversations(accessToken);
      for (const id of ids) {
        await expect
          .poll(async () => (await api.getConversation(accessToken, id)).contents, { timeout: 20_000, interval: 50 })
          .toEqual(["say 50", words(50).join(" ")]);
      }
      // The run itself takes another 2.5 s.
      expect(performance.now() - handedOverAt).toBeLessThan(6_000);
      await first?.start();
    }, 60_000);

    test("fails no call and breaks no stream, whichever process gets it", async () => {
      const load = { unary: 4, streams: 2, longStreams: 0, longWords: 0 };
      const { counts, badEnds, longest } = await drainUnderLoad(mesh, { terms: 5, load, seed: 1 });
      expect(counts).toMatchObject({ failures: [], refused: [], resumed: [], broken: [], handedOver: 0, cut: 0, outlived: 0 });
      expect(counts.unary).toBeGreaterThan(50);
      expect(counts.ended).toBeGreaterThan(2);
      expect(badEnds).toEqual([]);
      expect(longest.size).toBe(5);
    }, 120_000);
  });
});
