import { randomUUID } from "node:crypto";
import { cpSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { migrate, migrationsDir } from "@turnwright/platform/postgres/migrations";
import { createTestDatabase, openTestPool } from "@turnwright/testing/database";
import { expect, test } from "vitest";

/** A folder with auth's migrations up to a given one. */
function migrationsUpTo(last: number): string {
  const dir = mkdtempSync(join(tmpdir(), "turnwright-migrations-"));
  for (const name of readdirSync(join(migrationsDir, "auth"))) {
    if (Number(name.slice(0, 6)) <= last) cpSync(join(migrationsDir, "auth", name), join(dir, "auth", name));
  }
  return dir;
}

test("older keys keep their rights, each in the family of its first key; keys that outlived their creator end", async () => {
  const dir = migrationsUpTo(4);
  const database = await createTestDatabase({ services: ["auth"], dir });
  const pool = openTestPool(database.url, 1);
  try {
    const userId = randomUUID();
    await pool.query("insert into auth.users (id, email, password_hash) values ($1, 'a@example.com', '')", [userId]);
    const insert = async (parentId: string | null, init: { isRevoked?: boolean; type?: string } = {}) => {
      const id = randomUUID();
      await pool.query(
        `insert into auth.user_tokens (id, user_id, family_id, parent_id, token_type, token_hash, is_revoked, rate_limit_per_minute,
           rate_limit_per_day)
         values ($1, $2, $1, $3, $4, sha256(convert_to($6, 'UTF8')), $5, 1, 1)`,
        [id, userId, parentId, init.type ?? "api_key", init.isRevoked ?? false, id],
      );
      return id;
    };
    const first = await insert(null);
    const second = await insert(first);
    const third = await insert(second);
    const gone = await insert(null, { isRevoked: true });
    const survivor = await insert(await insert(gone));
    const session = await insert(null, { type: "refresh" });
    const refreshed = await insert(session, { type: "refresh" });
    await migrate({ url: database.url, service: "auth", direction: "up" });
    const { rows } = await pool.query("select id, family_id, is_revoked, scopes, may_approve from auth.user_tokens");
    const row = (id: string) => rows.find((one) => one.id === id);
    for (const id of [first, second, third]) {
      expect(row(id)).toEqual({ id, family_id: first, is_revoked: false, scopes: [], may_approve: false });
    }
    expect(row(survivor)).toMatchObject({ family_id: gone, is_revoked: true });
    for (const id of [session, refreshed]) expect(row(id)).toMatchObject({ family_id: id, is_revoked: false });
    const revoked = await pool.query("select 1 from auth.revocations where token_id = $1", [survivor]);
    expect(revoked.rows).toHaveLength(1);
  } finally {
    await pool.end();
    await database.drop();
    rmSync(dir, { recursive: true, force: true });
  }
}, 60_000);
