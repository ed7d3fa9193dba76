import { createTestDatabase, type TestDatabase } from "@turnwright/testing/database";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { creations, together } from "./races/creations.ts";
import { handings, playHeldPair } from "./races/held-race.ts";
import { type Holders, startHolders } from "./races/holders.ts";
import { playPair } from "./races/race.ts";
import { revocations } from "./races/revocations.ts";
import { type RaceStage, startRaceStage } from "./races/stage.ts";

// `npm run security -- s13` plays a thousand rounds of each pair.
const rounds = 12;

let database: TestDatabase;
let stage: RaceStage;
let holders: Holders;
beforeAll(async () => {
  database = await createTestDatabase({ services: ["auth"] });
  stage = await startRaceStage(database.url);
  holders = await startHolders(stage);
});
afterAll(async () => {
  await holders?.stop();
  await stage?.stop();
  await database?.drop();
});

/** The expected result: no survivor, no late success, no unexpected response. */
const clean = { survivors: 0, late: 0, faults: [] };
const login = "login";
const others = creations.map(({ name }) => name).filter((name) => name !== login);

const timeoutMs = 60_000;

describe.each(revocations)("$name", (revocation) => {
  test("leaves no credential alive that was being derived from what it ends, with two replicas of auth", {
    timeout: timeoutMs,
  }, async () => {
    const result = await playPair(stage, { revocation, creation: together(others) }, { rounds });
    expect(result).toMatchObject(clean);
    expect(result.made).toBeGreaterThan(0);
  });

  test("ends the calls that a gateway admitted and the runs that an orchestrator drives on its behalf", {
    timeout: timeoutMs,
  }, async () => {
    const results = await Promise.all(
      handings.map((handing) => playHeldPair(stage, holders, { revocation, handing }, { rounds: rounds / 4 })),
    );
    for (const result of results) expect(result).toMatchObject(clean);
  });
});

describe.each(revocations.filter(({ logins }) => logins))("$name", (revocation) => {
  test("leaves no session of a login that presented the password before", { timeout: timeoutMs }, async () => {
    const pair = { revocation, creation: together([login]) };
    expect(await playPair(stage, pair, { rounds: rounds / 2 })).toMatchObject(clean);
  });
});
