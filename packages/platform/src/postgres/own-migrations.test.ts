import { createTestDatabase, type TestDatabase } from "@turnwright/testing/database";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { migrate, migratedServices } from "./migrations.ts";

let database: TestDatabase;
let client: pg.Client;
beforeAll(async () => {
  database = await createTestDatabase({ services: migratedServices });
  client = new pg.Client({ connectionString: database.url });
  await client.connect();
});
afterAll(async () => {
  await client.end();
  await database.drop();
});

const columns = async (schema: string) =>
  (
    await client.query(
      `select table_name, column_name, data_type, is_nullable, column_default from information_schema.columns
       where table_schema = $1 order by 1, 2`,
      [schema],
    )
  ).rows;

test.each(migratedServices)("the newest migration of %s goes down and up again, to the same columns", async (service) => {
  const before = await columns(service);
  const step = { url: database.url, service };
  const undone = await migrate({ ...step, direction: "down" });
  expect(undone).toHaveLength(1);
  expect(await migrate({ ...step, direction: "up" })).toEqual(undone);
  expect(await columns(service)).toEqual(before);
});
