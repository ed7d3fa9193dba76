import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTestDatabase, openTestPool, type TestDatabase } from "@turnwright/testing/database";
import { testRedis } from "@turnwright/testing/redis";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { restApi } from "../e2e/api.ts";
import { answerTo, type BurstModel, startBurstModel } from "./burst-model.ts";
import { type ConversationRecord, inversions, recordFaults, uninterrupted } from "./burst-record.ts";
import { type BurstStage, bursts, type Policy } from "./double-text.ts";
import { type ReplicatedMesh, startReplicatedMesh } from "./replicated-mesh.ts";

const redis = await testRedis("many messages at once to one conversation of a mesh");

describe.skipIf(redis === undefined)("many concurrent messages to one conversation over two gateways", () => {
  const dir = mkdtempSync(join(tmpdir(), "turnwright-double-text-"));
  let database: TestDatabase;
  let model: BurstModel;
  let mesh: ReplicatedMesh;
  let db: pg.Pool;
  let stage: BurstStage;

  beforeAll(async () => {
    database = await createTestDatabase({ services: [] });
    model = await startBurstModel();
    const stores = { databaseUrl: database.url, redisUrl: redis ?? "" };
    mesh = await startReplicatedMesh({ dir, ...stores, limit: "2s", model });
    db = openTestPool(database.url, 2);
    const api = restApi(mesh.gateways[0] ?? "");
    await api.register("texts@example.com", "correct-horse-battery");
    const { accessToken } = await api.login("texts@example.com", "correct-horse-battery");
    stage = { gateways: mesh.gateways, token: accessToken, model, db };
  }, 120_000);
  afterAll(async () => {
    await mesh?.stop();
    await db?.end();
    await model?.close();
    await database?.drop();
    rmSync(dir, { recursive: true, force: true });
  });

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

describe("a record of a burst", () => {
  const texts = new Set(["c a", "c b"]);
  const run = (run_id: string, accepted: number, answer: number | null) => ({
    ...{ run_id, status: "completed", accepted, started: accepted, ended: accepted + 900, answer },
    ...{ cancelled_for: null, epoch: 1 },
  });
  const exchange = (text: string) => [
    { role: "user", content: text },
    { role: "assistant", content: answerTo(text) },
  ];
  const sound: ConversationRecord = {
    runs: [run("1", 0, 2), run("2", 1_000, 4)],
    messages: [...exchange("c a"), ...exchange("c b")],
  };

  test("is sound when each answer follows its message", () => {
    expect(recordFaults(sound, texts)).toEqual([]);
    expect([inversions(sound), uninterrupted(sound)]).toEqual([0, 0]);
  });

  test("reveals parallel runs, doubled text, repeated messages, misplaced answers and unfinished runs", () => {
    const [first, second] = sound.runs as [(typeof sound.runs)[0], (typeof sound.runs)[0]];
    const faultsOf = (change: Partial<ConversationRecord>) => recordFaults({ ...sound, ...change }, texts).join();
    expect(faultsOf({ runs: [{ ...first, ended: 2_000 }, second] })).toContain("at once");
    const doubled = [
      ...exchange("c a"),
      { role: "user", content: "c b" },
      { role: "assistant", content: `this ${answerTo("c b")}` },
    ];
    expect(faultsOf({ messages: doubled })).toContain("the answer of run 2");
    expect(faultsOf({ messages: [...exchange("c a"), ...exchange("c a")] })).toContain("stored twice");
    expect(
      faultsOf({
        runs: [
          { ...first, answer: 4 },
          { ...second, answer: 3 },
        ],
      }),
    ).toContain("the answer of run 2");
    expect(faultsOf({ runs: [first, { ...second, status: "queued", ended: null }] })).toContain("run 2 is queued");
    const third = run("3", 2_000, 3);
    expect(inversions({ ...sound, runs: [first, second, third] })).toBe(1);
    expect(inversions({ ...sound, runs: [first, second, run("3", 1_100, 3)] })).toBe(0);
    expect(uninterrupted({ ...sound, runs: [{ ...first, ended: 2_000 }, second] })).toBe(1);
  });
});
