import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTestDatabase, type TestDatabase } from "@turnwright/testing/database";
import { testRedis } from "@turnwright/testing/redis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { restApi } from "../e2e/api.ts";
import { drainUnderLoad } from "./drain.ts";
import { words } from "./paced-model.ts";
import { type ReplicatedMesh, startReplicatedMesh } from "./replicated-mesh.ts";

const redis = await testRedis("SIGTERM to the processes of a mesh");

describe.skipIf(redis === undefined)("SIGTERM to a process of a mesh with two replicas each", () => {
  let dir: string;
  let database: TestDatabase;
  let mesh: ReplicatedMesh;

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "turnwright-drain-"));
    database = await createTestDatabase({ services: [] });
    mesh = await startReplicatedMesh({ dir, databaseUrl: database.url, redisUrl: redis ?? "", limit: "2s" });
  }, 120_000);
  afterAll(async () => {
    await mesh?.stop();
    await database?.drop();
    rmSync(dir, { recursive: true, force: true });
  });

  it("hands the turns of an orchestrator over within about a second when they outlast its limit", async () => {
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
    // The turn itself takes 2.5 s again.
    expect(performance.now() - handedOverAt).toBeLessThan(6_000);
    await first?.start();
  }, 60_000);

  it("fails no call and breaks no stream, whichever it is", async () => {
    const load = { unary: 4, streams: 2, longStreams: 0, longWords: 0 };
    const { counts, badEnds, longest } = await drainUnderLoad(mesh, { terms: 5, load, seed: 1 });
    expect(counts).toMatchObject({ failures: [], broken: [], handedOver: 0, cut: 0, outlived: 0 });
    expect(counts.unary).toBeGreaterThan(50);
    expect(counts.ended).toBeGreaterThan(2);
    expect(badEnds).toEqual([]);
    expect(longest.size).toBe(5);
  }, 60_000);
});
