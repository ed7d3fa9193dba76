import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { migratedServices } from "@turnwright/platform/postgres/migrations";
import { createTestDatabase, type TestDatabase } from "@turnwright/testing/database";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startSystem } from "../e2e/system.ts";
import { onePiece, SizeStage } from "./sizes.ts";

/** A slice of `npm run durability -- r19`, in one process: requests of clients and results of tools. */
let database: TestDatabase;
let stage: SizeStage;
const dataDir = mkdtempSync(join(tmpdir(), "turnwright-sizes-"));
beforeAll(async () => {
  database = await createTestDatabase({ services: migratedServices });
  stage = await SizeStage.open(async (env) => {
    const stores = { DATABASE_URL: database.url, DB_ROLE_PREFIX: "turnwright", TURNWRIGHT_DATA_DIR: dataDir };
    return { system: await startSystem({ shape: "all-in-one", env: { ...stores, ...env } }), databaseUrl: database.url };
  });
});
afterAll(async () => {
  await stage?.close();
  await database?.drop();
  rmSync(dataDir, { recursive: true, force: true });
});

test("requests of clients and results of tools at and beyond their limits are served or refused by name, in small pieces", async () => {
  const cases = await stage.playSlice();
  expect(cases.filter(({ complaint }) => complaint !== undefined)).toEqual([]);
  expect(cases.length).toBeGreaterThan(12);
  expect(stage.largest).toBeLessThanOrEqual(onePiece);
}, 60_000);
