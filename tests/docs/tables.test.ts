import { readFileSync } from "node:fs";
import { join } from "node:path";
import { migratedServices } from "@turnwright/platform/postgres/migrations";
import { createTestDatabase, type TestDatabase } from "@turnwright/testing/database";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type EntityDiagram, mermaid, readEntities } from "./mermaid.ts";

const document = readFileSync(join(import.meta.dirname, "../../docs/tables.md"), "utf8");

/** The section of a schema. */
function sectionOf(schema: string): string {
  const [, section] = new RegExp(`\\n## Schema \`${schema}\`\\n([\\s\\S]*?)(?=\\n## |$)`).exec(document) ?? [];
  return section ?? "";
}

interface Column {
  readonly table: string;
  readonly name: string;
  readonly type: string;
  readonly keys: readonly string[];
}

interface Schema {
  readonly columns: readonly Column[];
  /** Each once, as "referenced table < referencing table". */
  readonly references: readonly string[];
}

const columnsSql = `
select c.relname as table, a.attname as name,
  case when t.typcategory = 'A' then 'array' else t.typname::text end as type,
  array(
    select distinct case k.contype when 'p' then 'PK' else 'FK' end
    from pg_constraint k where k.conrelid = c.oid and k.contype in ('p', 'f') and a.attnum = any (k.conkey) order by 1 desc
  ) as keys
from pg_class c join pg_attribute a on a.attrelid = c.oid join pg_type t on t.oid = a.atttypid
where c.relnamespace = $1::regnamespace and c.relkind = 'r' and a.attnum > 0 and not a.attisdropped
order by 1, a.attnum`;

const referencesSql = `
select distinct (select relname from pg_class where oid = confrelid) || ' < ' || (select relname from pg_class where oid = conrelid)
  as reference
from pg_constraint where contype = 'f' and connamespace = $1::regnamespace order by 1`;

/** The names of types as the diagrams write them, where PostgreSQL's catalogue has others. */
const typeNames: Readonly<Record<string, string>> = {
  bool: "boolean",
  int2: "smallint",
  int4: "integer",
  int8: "bigint",
};

let database: TestDatabase;
const schemas = new Map<string, Schema>();
beforeAll(async () => {
  database = await createTestDatabase({ services: migratedServices });
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  for (const schema of migratedServices) {
    const { rows } = await client.query<Column>(columnsSql, [schema]);
    const references = await client.query<{ reference: string }>(referencesSql, [schema]);
    schemas.set(schema, {
      columns: rows.map((column) => ({ ...column, type: typeNames[column.type] ?? column.type })),
      references: references.rows.map(({ reference }) => reference),
    });
  }
  await client.end();
});
afterAll(() => database.drop());

/** Differences between a diagram and a schema, one line each. */
function differences({ entities, relations }: EntityDiagram, { columns, references }: Schema): string[] {
  const tables = new Set(columns.map(({ table }) => table));
  const found: string[] = [];
  for (const table of tables) if (!entities.has(table)) found.push(`the table ${table} is missing`);
  for (const [table, attributes] of entities) {
    if (!tables.has(table)) found.push(`there is no table ${table}`);
    const own = columns.filter((column) => column.table === table);
    for (const { name, type, keys } of attributes) {
      const column = own.find((one) => one.name === name);
      if (column === undefined) found.push(`there is no column ${table}.${name}`);
      else if (column.type !== type) found.push(`${table}.${name} is ${column.type}, not ${type}`);
      else if (column.keys.join() !== keys.join()) found.push(`${table}.${name} is a key as [${column.keys}], not [${keys}]`);
    }
    const drawn = new Set(attributes.map(({ name }) => name));
    for (const { name, keys } of own) if (keys.length > 0 && !drawn.has(name)) found.push(`the key ${table}.${name} is missing`);
  }
  const solid = new Set(relations.filter((relation) => relation.solid).map(({ one, many }) => `${one} < ${many}`));
  for (const reference of references) if (!solid.has(reference)) found.push(`the foreign key ${reference} is missing`);
  for (const reference of solid) if (!references.includes(reference)) found.push(`there is no foreign key ${reference}`);
  for (const { one, many } of relations) {
    for (const table of [one, many]) if (!tables.has(table)) found.push(`a relation names ${table}, which is no table`);
  }
  return found;
}

const schemaOf = (name: string): Schema => schemas.get(name) ?? { columns: [], references: [] };

describe.each(migratedServices)("the map of the schema %s", (schema) => {
  const section = sectionOf(schema);

  test("shows every table, its keys and no column that does not exist", () => {
    const [body = "", ...others] = mermaid(section, "erDiagram");
    expect(others).toEqual([]);
    expect(schemaOf(schema).columns.length).toBeGreaterThan(10);
    expect(differences(readEntities(body), schemaOf(schema))).toEqual([]);
  });

  test("says in one line what each table is for", () => {
    const explained = [...section.matchAll(/^\| `(\w+)` \| \S.* \|$/gm)].map(([, table]) => table);
    expect(explained.sort()).toEqual([...new Set(schemaOf(schema).columns.map(({ table }) => table))].sort());
  });
});

test("the comparison notices a missing table, a column that is gone, another type and a lost foreign key", () => {
  const [body = ""] = mermaid(sectionOf("auth"), "erDiagram");
  const compare = (from: string | RegExp, to: string) => {
    const changed = body.replace(from, to);
    expect(changed).not.toBe(body);
    return differences(readEntities(changed), schemaOf("auth"));
  };
  expect(compare(/ {2}login_attempts \{[\s\S]*?\n {2}\}\n/, "")).toEqual(["the table login_attempts is missing"]);
  expect(compare("    text email\n", "    text mail\n")).toEqual(["there is no column users.mail"]);
  expect(compare("    text email\n", "    uuid email\n")).toEqual(["users.email is text, not uuid"]);
  expect(compare("users ||--o{ usage", "users ||..o{ usage")).toEqual(["the foreign key users < usage is missing"]);
});
