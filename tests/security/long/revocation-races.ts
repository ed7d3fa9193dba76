/**
 * Row S13: revocations against the creation of credentials, so many rounds per pair; a credential that lives after the
 * response is a survivor.
 *
 *   node tests/security/long/revocation-races.ts --count 1000 [--only "logout"]
 */
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { startEmbeddedPostgres } from "@turnwright/platform/embedded-postgres/embedded-postgres";
import { createLogger } from "@turnwright/platform/logger";
import { migrate } from "@turnwright/platform/postgres/migrations";
import { creations } from "../races/creations.ts";
import { handings, playHeldPair } from "../races/held-race.ts";
import { startHolders } from "../races/holders.ts";
import { type PairResult, playPair } from "../races/race.ts";
import { revocations } from "../races/revocations.ts";
import { startRaceStage } from "../races/stage.ts";
import { report } from "./stage.ts";

const { values } = parseArgs({ options: { count: { type: "string", default: "1000" }, only: { type: "string", default: "" } } });
const rounds = Math.max(1, Math.round(Number(values.count)));

const dir = mkdtempSync(join(tmpdir(), "turnwright-races-"));
chmodSync(dir, 0o711);
const logger = createLogger({ service: "races", level: "error" });
const settings = { max_connections: "120", fsync: "off", synchronous_commit: "off" };
const postgres = await startEmbeddedPostgres({ dataDir: join(dir, "postgres"), logger, settings });
const line = ({ revocation, creation, rounds: played, made, survivors, late, faults }: PairResult) =>
  `${revocation.padEnd(28)}${creation.padEnd(24)}${String(played).padStart(7)}${String(made).padStart(9)}${String(survivors).padStart(11)}${String(late).padStart(6)}${
    faults.length === 0 ? "" : `   ${faults.length} faults, as ${faults[0]}`
  }`;
try {
  await migrate({ url: postgres.url, service: "auth", direction: "up" });
  const stage = await startRaceStage(postgres.url);
  const holders = await startHolders(stage);
  const results: PairResult[] = [];
  let slowestMs = 0;
  console.log(`${"revocation".padEnd(28)}${"creation".padEnd(24)} rounds     made  survivors  late`);
  for (const revocation of revocations.filter(({ name }) => name.includes(values.only))) {
    for (const creation of creations) {
      const result = await playPair(stage, { revocation, creation }, { rounds });
      results.push(result);
      console.log(line(result));
    }
    for (const handing of handings) {
      const result = await playHeldPair(stage, holders, { revocation, handing }, { rounds });
      results.push(result);
      slowestMs = Math.max(slowestMs, result.slowestMs);
      console.log(`${line(result)}   over after ${Math.round(result.slowestMs)} ms at most`);
    }
  }
  await holders.stop();
  await stage.stop();
  const sum = (count: (one: PairResult) => number) => results.reduce((all, one) => all + count(one), 0);
  const [survivors, late, faults] = [sum((one) => one.survivors), sum((one) => one.late), sum((one) => one.faults.length)];
  const figure = `${results.length} pairs, ${rounds} rounds each, ${sum((one) => one.made)} credentials made: ${survivors} survivors (0), ${late} made late (0), ${faults} faults (0); calls and runs over after ${Math.round(slowestMs)} ms at most`;
  report("S13", survivors === 0 && late === 0 && faults === 0, figure);
} finally {
  await postgres.stop();
  rmSync(dir, { recursive: true, force: true });
}
