import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTestDatabase, type TestDatabase } from "@turnwright/testing/database";
import { type FaultProxy, faultProxy } from "@turnwright/testing/fault-proxy";
import { testRedis } from "@turnwright/testing/redis";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { words } from "./paced-model.ts";
import { createPatientClient } from "./patient-client.ts";
import { type ReplicatedMesh, startReplicatedMesh } from "./replicated-mesh.ts";

const redis = await testRedis("an outage of the database that outlasts the silence of workers");

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

describe.skipIf(redis === undefined)("an outage of the database in a mesh with two replicas each", () => {
  let dir: string;
  let database: TestDatabase;
  let proxy: FaultProxy;
  let mesh: ReplicatedMesh;

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "turnwright-outage-"));
    database = await createTestDatabase({ services: [] });
    proxy = await faultProxy(new URL(database.url));
    mesh = await startReplicatedMesh({ dir, databaseUrl: proxy.url, redisUrl: redis ?? "", limit: "2s" });
  }, 120_000);
  afterAll(async () => {
    await mesh?.stop();
    proxy?.close();
    await database?.drop();
    rmSync(dir, { recursive: true, force: true });
  });

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
    const { rows } = await db.query("select epoch, status from conversation.runs");
    await db.end();
    client.close();
    expect(rows.map(({ epoch, status }) => [epoch, status])).toEqual(Array(6).fill([rows[0]?.epoch, "completed"]));
  }, 60_000);
});
