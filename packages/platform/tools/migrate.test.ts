import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { compiledModules } from "@turnwright/testing/compiled-modules";
import { createTestDatabase, type TestDatabase } from "@turnwright/testing/database";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const program = fileURLToPath(new URL("./migrate.ts", import.meta.url));
let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase({ services: [] });
});

afterAll(async () => {
  await database.drop();
});

async function run(args: string[], url = database.url): Promise<{ code: number; out: string; err: string }> {
  const child = spawn(process.execPath, [program, ...args], {
    env: { ...compiledModules, DATABASE_URL: url },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
  return { code: code as number, out, err };
}

/** The tables in the schemas, apart from the record of migrations. */
async function tables(): Promise<string[]> {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  const { rows } = await client.query<{ name: string }>(
    `select table_schema || '.' || table_name as name from information_schema.tables
     where table_schema in ('auth', 'conversation', 'tool') and table_name <> 'migrations' order by 1`,
  );
  await client.end();
  return rows.map(({ name }) => name);
}

describe("the migrate command", () => {
  test("migrates every schema of the repository up, down to nothing and up again", async () => {
    expect(await run(["up"])).toMatchObject({ code: 0, err: "" });
    const full = await tables();
    expect(full.length).toBeGreaterThan(0);
    for (const service of ["tool", "conversation", "auth"])
      expect(await run(["down", service, "1000"])).toMatchObject({ code: 0, err: "" });
    expect(await tables()).toEqual([]);
    expect(await run(["up"])).toMatchObject({ code: 0, err: "" });
    expect(await tables()).toEqual(full);
  });

  test("lets concurrent starts all succeed", async () => {
    for (const service of ["tool", "conversation", "auth"]) await run(["down", service, "1000"]);
    const runs = await Promise.all([run(["up"]), run(["up"])]);
    expect(runs).toMatchObject([{ code: 0 }, { code: 0 }]);
  });

  test.each([
    [[], "Usage:"],
    [["sideways"], "Usage:"],
    [["up", "nothing"], 'there is no service "nothing"'],
    [["down", "auth", "many"], "many is not a number"],
    [["create", "nothing", "name"], 'there is no service "nothing"'],
    [["create", "auth"], "needs a name"],
  ])("explains what is wrong with %j", async (args, message) => {
    const { code, err } = await run(args);
    expect(code).toBe(1);
    expect(err).toContain(message);
    expect(err).not.toContain("    at ");
  });

  test("reports that the database does not answer", async () => {
    const { code, err } = await run(["up"], "postgres://u:p@127.0.0.1:1/x");
    expect(code).toBe(1);
    expect(err).toContain("does not answer");
    expect(err).toContain("ECONNREFUSED");
  });
});
