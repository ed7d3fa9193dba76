import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTestDatabase } from "./database.ts";

let dir = "";

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "turnwright-migrations-"));
  await mkdir(join(dir, "auth"));
  await writeFile(join(dir, "auth", "000001_things.up.sql"), "create table things (id bigint primary key);");
  await writeFile(join(dir, "auth", "000001_things.down.sql"), "drop table things;");
});

afterAll(async () => {
  await rm(dir, { recursive: true });
});

async function query(url: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(text)).rows;
  } finally {
    await client.end();
  }
}

describe("a test database", () => {
  test("is migrated, and shares nothing with the next one", async () => {
    const [first, second] = await Promise.all([
      createTestDatabase({ services: ["auth"], dir }),
      createTestDatabase({ services: ["auth"], dir }),
    ]);
    await query(first.url, "insert into auth.things values (1)");
    expect(await query(first.url, "select count(*)::int as count from auth.things")).toEqual([{ count: 1 }]);
    expect(await query(second.url, "select count(*)::int as count from auth.things")).toEqual([{ count: 0 }]);
    await Promise.all([first.drop(), second.drop()]);
  });

  test("follows a change of the migrations", async () => {
    await writeFile(join(dir, "auth", "000002_more.up.sql"), "create table more (id bigint primary key);");
    await writeFile(join(dir, "auth", "000002_more.down.sql"), "drop table more;");
    const database = await createTestDatabase({ services: ["auth"], dir });
    expect(await query(database.url, "select count(*)::int as count from auth.more")).toEqual([{ count: 0 }]);
    await database.drop();
  });

  test("is dropped even while a client is connected", async () => {
    const database = await createTestDatabase({ services: ["auth"], dir });
    const client = new pg.Client({ connectionString: database.url });
    const lost = new Promise((resolve) => client.on("error", resolve));
    await client.connect();
    await database.drop();
    await lost;
    await expect(query(database.url, "select 1")).rejects.toMatchObject({ code: "3D000" });
  });
});
