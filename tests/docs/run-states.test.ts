import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ConversationService } from "@turnwright/contract/conversation/v1/conversation_service";
import { JournalService } from "@turnwright/contract/conversation/v1/journal_service";
import { RunStatusSchema } from "@turnwright/contract/conversation/v1/run";
import { createTestDatabase } from "@turnwright/testing/database";
import pg from "pg";
import { expect, test } from "vitest";
import { mermaid, readTransitions } from "./mermaid.ts";

const root = join(import.meta.dirname, "../..");
const document = readFileSync(join(root, "docs/run-states.md"), "utf8");
const [body = ""] = mermaid(document, "stateDiagram-v2");
const sweeper = "expiry sweeper";

const statuses = RunStatusSchema.values.flatMap(({ number, name }) =>
  number === 0 ? [] : [name.replace("RUN_STATUS_", "").toLowerCase()],
);

/** States in a diagram that are no status, and statuses that it lacks. */
function differences(diagram: string): string[] {
  const states = new Set(readTransitions(diagram).flatMap(({ from, to }) => [from, to]));
  states.delete("[*]");
  const unknown = [...states].filter((state) => !statuses.includes(state)).map((state) => `there is no status ${state}`);
  return [...unknown, ...statuses.filter((status) => !states.has(status)).map((status) => `the status ${status} is missing`)];
}

test("the diagram of a run has the statuses of the enum, all and no others", () => {
  expect(statuses.length).toBeGreaterThan(5);
  expect(differences(body)).toEqual([]);
});

test("the comparison notices a status that the diagram lacks, and a state that is no status", () => {
  const without = body.replaceAll(/^.*needs_review.*\n/gm, "");
  expect(differences(without)).toEqual(["the status needs_review is missing"]);
  expect(differences(`${body}  running --> paused : CommitRun\n`)).toEqual(["there is no status paused"]);
});

test("the statuses of the enum are those that the table of runs allows", async () => {
  const database = await createTestDatabase({ services: ["conversation"] });
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  const { rows } = await client.query<{ definition: string }>(
    `select pg_get_constraintdef(oid) as definition from pg_constraint
     where conrelid = 'conversation.runs'::regclass and contype = 'c' and conname = 'runs_status_check'`,
  );
  await client.end();
  await database.drop();
  const allowed = [...(rows[0]?.definition ?? "").matchAll(/'(\w+)'/g)].map(([, status]) => status);
  expect(allowed.sort()).toEqual([...statuses].sort());
});

test("each transition names the RPCs or the sweeper that make it, and each run begins and ends", () => {
  const transitions = readTransitions(body);
  const rpcs = [...JournalService.methods, ...ConversationService.methods].map(({ name }) => name);
  const named = transitions.filter(({ to }) => to !== "[*]").flatMap(({ label }) => label.split(", "));
  expect(named.filter((name) => name !== sweeper && !rpcs.includes(name))).toEqual([]);
  expect(existsSync(join(root, "services/conversation/src/expiry-sweeper.ts"))).toBe(true);
  const left = new Set(transitions.map(({ from }) => from));
  expect(statuses.filter((status) => !left.has(status))).toEqual([]);
});

test("the table below the diagram has each of its transitions, and no others", () => {
  const live = ["queued", "running", "waiting", "needs_review"];
  const explained = [...document.matchAll(/^\| (.+) → `(\w+)` \| (.+) \| .+ \|$/gm)].flatMap(([, from = "", to, makers = ""]) => {
    const sources = from === "any live state" ? live : [from === "start" ? "[*]" : from.replaceAll("`", "")];
    return sources.flatMap((source) =>
      makers
        .replaceAll("`", "")
        .split(", ")
        .map((maker) => `${source} ${to} ${maker}`),
    );
  });
  const drawn = readTransitions(body)
    .filter(({ to }) => to !== "[*]")
    .flatMap(({ from, to, label }) => label.split(", ").map((maker) => `${from} ${to} ${maker}`));
  expect([...new Set(explained)].sort()).toEqual(drawn.sort());
});
