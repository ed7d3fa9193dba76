import type { Queryable } from "@turnwright/platform/postgres/pool";

const namesSql = `
select coalesce((select u.name from users u where u.id = $1), '') as user_name,
  (select coalesce(json_agg(json_build_object('id', t.id, 'name', t.name)), '[]')
    from user_tokens t
    where t.id = any ($2::uuid[]) and ($1::uuid is null or t.user_id = $1) and t.token_type = 'api_key') as api_keys`;

/** Names of an account and of the API keys among some of its credentials; without an account, among those of all. */
export async function nameCredentials(
  db: Queryable,
  asked: { userId: string; tokenIds: readonly string[] },
): Promise<{ userName: string; apiKeys: { id: string; name: string }[] }> {
  const { rows } = await db.query<{ user_name: string; api_keys: { id: string; name: string }[] }>({
    name: "credential-names",
    text: namesSql,
    values: [asked.userId === "" ? null : asked.userId, asked.tokenIds],
  });
  return { userName: rows[0]?.user_name ?? "", apiKeys: rows[0]?.api_keys ?? [] };
}
