import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { migratedServices } from "@turnwright/platform/postgres/migrations";
import { createTestDatabase, type TestDatabase } from "@turnwright/testing/database";
import { testRedis } from "@turnwright/testing/redis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Left, leaveCompletions, leaveTurns, logIn, ModelWatch, moments, protocols } from "./disconnects.ts";
import { holdIdleStreams } from "./idle-streams.ts";
import { PourGate, startPacedModel } from "./paced-model.ts";
import { type ReplicatedMesh, startReplicatedMesh } from "./replicated-mesh.ts";
import { stallReaders } from "./slow-readers.ts";

const redis = await testRedis("clients of a mesh that stall, leave or wait");
const limitMs = 2_500;

describe.skipIf(redis === undefined)("a mesh of processes", () => {
  let dir: string;
  let database: TestDatabase;
  let mesh: ReplicatedMesh;
  let left: Left;
  const [gate, endGate] = [new PourGate(), new PourGate()];

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "turnwright-slow-clients-"));
    database = await createTestDatabase({ services: migratedServices });
    const watch = new ModelWatch();
    mesh = await startReplicatedMesh({
      dir,
      databaseUrl: database.url,
      redisUrl: redis ?? "",
      limit: "2s",
      replicas: 1,
      model: await startPacedModel({
        onAsked: (said) => watch.onAsked(said),
        onClosed: (said) => watch.onClosed(said),
        beforePouring: () => gate.passed(),
        beforeEnding: () => endGate.passed(),
      }),
      env: { SERVER_STALL_TIMEOUT: `${limitMs}ms`, DB_ROLE_PREFIX: "turnwright" },
    });
    const baseUrl = mesh.gateways[0] ?? "";
    left = { baseUrl, token: await logIn(baseUrl), model: watch };
  }, 120_000);
  afterAll(async () => {
    await mesh?.stop();
    await database?.drop();
    rmSync(dir, { recursive: true, force: true });
  });

  test.each(["completions", "run events", "turns"] as const)(
    "cuts stalled readers of %s, harms no other reader, and lets the cut ones resume",
    async (surface) => {
      // Only the memory of completions is asserted, and needs a measurement to compare with.
      const warmUps = surface === "completions" ? 2 : 0;
      // The process's own 3 MiB, more or less from run to run, must not decide on the share of a reader.
      const readers = surface === "completions" ? 8 : 3;
      const gates = { gate, endGate };
      const figures = await stallReaders(mesh, { surface, readers, limitMs, pieces: 880, settleMs: 300, warmUps, ...gates });
      expect(figures).toMatchObject({ uncut: 0, wrongTexts: 0, isNeighbourWell: true });
      // A reader on a busy machine takes its last byte long after it was sent.
      expect(figures.cutAfterMs[0]).toBeGreaterThan(limitMs - 1_300);
      expect(figures.cutAfterMs.at(-1)).toBeLessThan(limitMs + 3_000);
      // A wide bound, because traffic in progress weighs much with so few readers; the command measures many.
      if (surface === "completions") for (const { held } of figures.kib.values()) expect(held).toBeLessThan(1_000);
    },
    120_000,
  );

  test.each(protocols.flatMap((protocol) => moments.map((moment) => ({ protocol, moment }))))(
    "closes the model call of a completion whose client leaves, $moment, over $protocol",
    async (options) => {
      const took = await leaveCompletions(left, { ...options, count: 3, atOnce: 3 });
      expect(took.at(-1)).toBeLessThan(1_000);
    },
    30_000,
  );

  test.each(protocols)(
    "completes stored turns whose clients leave, over %s",
    async (protocol) => {
      for (const streamed of [true, false]) {
        expect(await leaveTurns(left, { count: 2, streamed, protocol })).toEqual({ left: 2, unanswered: 0, closed: 0 });
      }
    },
    60_000,
  );

  // The last one: its runs go on at the model.
  test("holds silent turns without their requests", async () => {
    const held = { kind: "turns", earlier: 60, streams: 120, paddingBytes: 131_072, holdMs: 300, settleMs: 300 } as const;
    const { dropped, refusal, grown } = await holdIdleStreams(mesh, held);
    expect({ dropped, refusal }).toEqual({ dropped: 0, refusal: undefined });
    // A wide bound, because so few streams share what a process grows by on its own; the command measures many.
    for (const [name, { held: bytes }] of grown) expect(bytes / held.streams, name).toBeLessThan(90_000);
  }, 60_000);
});
