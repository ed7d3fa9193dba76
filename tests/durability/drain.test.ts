import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTestDatabase, type TestDatabase } from "@turnwright/testing/database";
import { testRedis } from "@turnwright/testing/redis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { restApi } from "../e2e/api.ts";
import { accepts } from "../mesh/part.ts";
import { drainUnderLoad } from "./drain.ts";
import { words } from "./paced-model.ts";
import { type ReplicatedMesh, startReplicatedMesh } from "./replicated-mesh.ts";

const redis = await testRedis("SIGTERM to the processes of a mesh");

describe.skipIf(redis === undefined)("SIGTERM to a process of a mesh with two replicas each", () => {
  let dir: string;
  let database: TestDatabase;
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
    dir = mkdtempSync(join(tmpdir(), "turnwright-drain-"));
    database = await createTestDatabase({ services: [] });
    mesh = await startReplicatedMesh({ dir, databaseUrl: database.url, redisUrl: redis ?? "", limit: "2s", allowedHost });
  }, 120_000);
  afterAll(async () => {
    await mesh?.stop();
    page?.close();
    await database?.drop();
    rmSync(dir, { recursive: true, force: true });
  });

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
  }, 60_000);
});
