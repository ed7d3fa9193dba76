import type { Queryable } from "@turnwright/platform/postgres/pool";

/** The names of the API keys among some credentials, by id, whether they are valid or not. */
export async function nameApiKeys(db: Queryable, ids: readonly string[]): Promise<Record<string, string>> {
  const { rows } = await db.query<{ id: string; name: string }>({
    name: "name-api-keys",
    text: "select id, name from user_tokens where id = any ($1::uuid[]) and token_type = 'api_key'",
    values: [ids],
  });
  return Object.fromEntries(rows.map(({ id, name }) => [id, name]));
}
