import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTestDatabase, type TestDatabase } from "@turnwright/testing/database";
import { testRedis } from "@turnwright/testing/redis";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { restApi } from "../e2e/api.ts";
import { drainUnderLoad } from "./drain.ts";
import { startPacedModel, words } from "./paced-model.ts";
import { startReplicatedMesh } from "./replicated-mesh.ts";

const redis = await testRedis("SIGTERM to the processes of a mesh");

describe.skipIf(redis === undefined)("SIGTERM to a process of a mesh with two replicas each", () => {
  let dir: string;
  let database: TestDatabase;
  let stores: { databaseUrl: string; redisUrl: string };

  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), "turnwright-drain-"));
    database = await createTestDatabase({ services: [] });
    stores = { databaseUrl: database.url, redisUrl: redis ?? "" };
  });
  afterEach(async () => {
    await database.drop();
    rmSync(dir, { recursive: true, force: true });
  });

  it("fails no call and breaks no stream, whichever it is", async () => {
    const load = { unary: 4, streams: 2, longStreams: 0, longWords: 0 };
    const { counts, badEnds, longest } = await drainUnderLoad({ dir, ...stores, terms: 5, limit: "10s", load, seed: 1 });
    expect(counts).toMatchObject({ failures: [], broken: [], handedOver: 0, cut: 0, outlived: 0 });
    expect(counts.unary).toBeGreaterThan(50);
    expect(counts.ended).toBeGreaterThan(2);
    expect(badEnds).toEqual([]);
    expect(longest.size).toBe(5);
  }, 120_000);

  it("hands the turns of an orchestrator over within about a second when they outlast its limit", async () => {
    const model = await startPacedModel();
    const env = { DATABASE_URL: stores.databaseUrl, REDIS_URL: stores.redisUrl, LLM_BASE_URL: model.url };
    const mesh = await startReplicatedMesh({ dir, env: { ...env, SERVER_SHUTDOWN_TIMEOUT: "1s", DB_MAX_OPEN_CONNS: "8" } });
    try {
      const api = restApi(mesh.gateways[0] ?? "");
      await api.register("handover@example.com", "correct-horse-battery");
      const { accessToken } = await api.login("handover@example.com", "correct-horse-battery");
      const turns = Array.from({ length: 4 }, () => api.createConversation(accessToken, "say 60").catch(String));
      await expect.poll(async () => (await api.listConversations(accessToken)).ids.length, { timeout: 10_000 }).toBe(4);
      const [first] = mesh.replicas.filter(({ name }) => name.startsWith("agent-orchestrator"));
      const ending = await first?.terminate();
      expect(ending?.code).toBe(0);
      expect(ending?.ms).toBeLessThan(5_000);
      const told = (await Promise.all(turns)).filter((turn) => typeof turn === "string");
      // Round robin: one of two orchestrators had one of two of them.
      expect(told).toHaveLength(2);
      for (const error of told) expect(error).toContain("RUN_HANDED_OVER");
      for (const id of (await api.listConversations(accessToken)).ids) {
        await expect
          .poll(async () => (await api.getConversation(accessToken, id)).contents, { timeout: 20_000, interval: 100 })
          .toEqual(["say 60", words(60).join(" ")]);
      }
    } finally {
      await mesh.stop();
      await model.close();
    }
  }, 120_000);
});
