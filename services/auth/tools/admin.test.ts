import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { createTestDatabase } from "@turnwright/testing/database";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AuthFixture, password, refusalOf, startAuthFixture } from "../testing/auth.ts";

const run = promisify(execFile);
let fixture: AuthFixture;
let env: Record<string, string>;
beforeAll(async () => {
  fixture = await startAuthFixture();
  env = { DATABASE_URL: fixture.databaseUrl };
});
afterAll(() => fixture.stop());

/** `npm run admin -- …`, without npm. */
async function admin(args: string[], variables = env): Promise<{ code: number; stdout: string; stderr: string }> {
  const command = [join(import.meta.dirname, "admin.ts"), ...args];
  return run(process.execPath, command, { env: { PATH: process.env.PATH, ...variables } }).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    ({ code, stdout, stderr }: { code: number; stdout: string; stderr: string }) => ({ code, stdout, stderr }),
  );
}

const login = (email: string, secret: string) => fixture.anonymous().auth.login({ email, password: secret });
const revoked = async () => {
  const { revocations } = await fixture.anonymous().tokens.listRevocations({ seconds: 60 });
  return revocations.map(({ tokenId }) => tokenId);
};

describe("accounts on the command line", () => {
  test("get a new password, the only text on standard output; sessions end everywhere, the log names the operator", async () => {
    const person = await fixture.person();
    const { key } = await person.keys.createApiKey({ name: "k" });
    const { code, stdout, stderr } = await admin(["reset", person.email.toUpperCase()]);
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: `${person.email} has a new password; 1 session ended, its API keys stay.\n`,
    });
    expect(stdout).toMatch(/^[0-9A-Za-z]{24}\n$/);
    expect(await revoked()).toContain(person.identity.tokenId);
    expect(await refusalOf(fixture.holder(person.accessToken))).toBe("INVALID_TOKEN");
    expect(await refusalOf(login(person.email, password))).toBe("INVALID_CREDENTIALS");
    await login(person.email, stdout.trim());
    await expect(fixture.holder(key)).resolves.toBeDefined();
    const { rows } = await fixture.pool.query<{ event: string }>(
      "select event from audit_log where event like '%password.reset%' order by seq desc limit 1",
    );
    const event = rows[0]?.event ?? "";
    expect(JSON.parse(event)).toMatchObject({
      actor_id: "operator on the command line",
      subject: person.userId,
      details: { sessions: 1, api_keys: 0, system_user: expect.stringMatching(/./) },
    });
    expect(event).not.toContain(stdout.trim());
  });

  test("of an installation without admins become admins", async () => {
    await fixture.pool.query("update users set role = 'user'");
    const first = await fixture.person();
    expect((await admin(["promote", first.email])).stderr).toBe(`${first.email} is an admin now; its sessions have ended.\n`);
    expect(await revoked()).toContain(first.identity.tokenId);
    const { accessToken } = await login(first.email, password);
    await expect((await fixture.holder(accessToken)).users.listUsers({})).resolves.toBeDefined();
  });

  test("that do not exist are refused in one sentence, like databases and directories without Turnwright's data", async () => {
    const empty = await createTestDatabase({ services: [] });
    const parent = mkdtempSync(join(tmpdir(), "turnwright-admin-"));
    const absent = join(parent, "absent");
    try {
      const [unknown, database, directory] = await Promise.all([
        admin(["reset", "nobody@example.com"]),
        admin(["promote", "a@example.com"], { DATABASE_URL: empty.url }),
        admin(["promote", "a@example.com"], { TURNWRIGHT_DATA_DIR: absent }),
      ]);
      expect(unknown).toEqual({ code: 1, stdout: "", stderr: "There is no account with the address nobody@example.com.\n" });
      expect(database.stderr).toContain("The database has no schema auth: start Turnwright on it first");
      expect(directory.stderr).toContain(`TURNWRIGHT_DATA_DIR: there is no directory ${absent}`);
      expect([database.code, directory.code]).toEqual([1, 1]);
    } finally {
      rmSync(parent, { recursive: true });
      await empty.drop();
    }
  });
});
