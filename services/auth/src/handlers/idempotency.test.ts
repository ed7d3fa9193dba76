import { randomUUID } from "node:crypto";
import { idempotencyKeyHeader } from "@turnwright/platform/rpc/idempotency-key";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AuthFixture, password, refusalOf, startAuthFixture } from "../../testing/auth.ts";

let fixture: AuthFixture;
beforeAll(async () => {
  fixture = await startAuthFixture();
});
afterAll(() => fixture.stop());

/** Call options with an idempotency key. */
const under = (key: string) => ({ headers: { [idempotencyKeyHeader]: key } });
const times = <T>(count: number, work: () => Promise<T>) => Promise.all(Array.from({ length: count }, work));
/** Responses, without duplicates. */
const distinct = (answers: readonly unknown[]) => [
  ...new Set(answers.map((answer) => JSON.stringify(answer, (_, value) => (typeof value === "bigint" ? `${value}` : value)))),
];
const count = async (sql: string, ...values: unknown[]) =>
  (await fixture.pool.query<{ count: number }>(`select count(*)::int as count from ${sql}`, values)).rows[0]?.count;
const keysOf = (userId: string) => count("user_tokens where token_type = 'api_key' and user_id = $1", userId);

describe("an API key created under an idempotency key", () => {
  test("is one for 100 concurrent duplicates, which all get the same response, and works", async () => {
    const person = await fixture.person();
    const key = randomUUID();
    const answers = await times(100, () => person.keys.createApiKey({ name: "ci", allowedTools: ["calculator"] }, under(key)));
    expect(distinct(answers)).toHaveLength(1);
    expect(await keysOf(person.userId)).toBe(1);
    const id = answers[0]?.apiKey?.id;
    expect(await count(`audit_log where event like '%api_key.created%' and event like '%${id}%'`)).toBe(1);
    const { identity } = await fixture.holder(answers[0]?.key ?? "");
    expect(identity.tokenId).toBe(id);
  });

  test("is not replaced by a request with another body", async () => {
    const person = await fixture.person();
    await person.keys.createApiKey({ name: "ci" }, under("one"));
    expect(await refusalOf(person.keys.createApiKey({ name: "cd" }, under("one")))).toBe("IDEMPOTENCY_KEY_REUSED");
    expect(await keysOf(person.userId)).toBe(1);
  });

  test("is not shown to a lesser credential of the same user, nor to another user", async () => {
    const person = await fixture.person();
    const wide = await person.keys.createApiKey({ name: "wide" }, under("guess"));
    const narrow = await person.keys.createApiKey({ name: "narrow", allowedTools: ["calculator"] });
    const holder = await fixture.holder(narrow.key);
    expect(await refusalOf(holder.keys.createApiKey({ name: "wide" }, under("guess")))).toBe("IDEMPOTENCY_KEY_REUSED");
    const other = await (await fixture.person()).keys.createApiKey({ name: "wide" }, under("guess"));
    expect(other.key).not.toBe(wide.key);
  });

  test("is not shown to a caller who may no longer create keys", async () => {
    const person = await fixture.person();
    await person.keys.createApiKey({ name: "k" }, under("before"));
    await fixture.pool.query("update users set role = 'agent' where id = $1", [person.userId]);
    const { accessToken } = await fixture.anonymous().auth.login({ email: person.email, password });
    const agent = await fixture.holder(accessToken);
    expect(await refusalOf(agent.keys.createApiKey({ name: "k" }, under("before")))).toBe("PERMISSION_DENIED");
  });

  test("appears in no row, and neither does its idempotency key", async () => {
    const person = await fixture.person();
    const idempotencyKey = randomUUID();
    const { key } = await person.keys.createApiKey({ name: "k" }, under(idempotencyKey));
    const { rows } = await fixture.pool.query("select idempotency_keys::text as text from idempotency_keys where user_id = $1", [
      person.userId,
    ]);
    expect(rows).toHaveLength(1);
    for (const secret of [key, idempotencyKey]) {
      expect(rows[0].text).not.toContain(secret);
      expect(rows[0].text).not.toContain(Buffer.from(secret).toString("hex"));
    }
  });
});

describe("an API key rotated under an idempotency key", () => {
  test("gets one new secret from 100 duplicates, and its runs continue", async () => {
    const person = await fixture.person();
    const { apiKey } = await person.keys.createApiKey({ name: "k" });
    const apiKeyId = apiKey?.id ?? "";
    const announced: string[] = [];
    const unsubscribe = await fixture.bus.subscribe("auth.revoked", (message) => announced.push(message));
    const answers = await times(100, () => person.keys.rotateApiKey({ apiKeyId }, under("rotation")));
    expect(distinct(answers)).toHaveLength(1);
    await fixture.holder(answers[0]?.key ?? "");
    expect(await count(`audit_log where event like '%api_key.rotated%' and event like '%${apiKeyId}%'`)).toBe(1);
    expect(announced).toEqual([JSON.stringify({ token_id: apiKeyId })]);
    await unsubscribe();
  });

  test("leaves no trace of a rotation that failed", async () => {
    const person = await fixture.person();
    const foreign = { apiKeyId: randomUUID() };
    expect(await refusalOf(person.keys.rotateApiKey(foreign, under("again")))).toBe("NOT_FOUND");
    expect(await count("idempotency_keys where user_id = $1", person.userId)).toBe(0);
    const { apiKey } = await person.keys.createApiKey({ name: "k" });
    expect(await refusalOf(person.keys.rotateApiKey({ apiKeyId: apiKey?.id }, under("again")))).toBe("no error");
  });
});

describe("an account registered under an idempotency key", () => {
  const register = (key: string, init: Partial<Record<"email" | "password" | "name", string>> = {}) => {
    const request = { email: `${key}@example.com`, password, name: "A person", ...init };
    return fixture.anonymous().auth.register(request, under(key));
  };

  test("is one for 100 concurrent duplicates, which all get the same response", async () => {
    const answers = await times(100, () => register("hundred"));
    expect(distinct(answers)).toHaveLength(1);
    expect(await count("users where email = 'hundred@example.com'")).toBe(1);
  });

  test("is not shown to a request with the same key and another body", async () => {
    await register("guessed");
    const others = [{ password: "AnotherPass123" }, { email: "mine@example.com" }, { name: "Mallory" }];
    for (const init of others) expect(await refusalOf(register("guessed", init))).toBe("IDEMPOTENCY_KEY_REUSED");
    expect(await count("users where email = 'mine@example.com'")).toBe(0);
  });

  test("leaves the key free when it fails", async () => {
    await register("taken");
    const before = await count("idempotency_keys where user_id is null");
    expect(await refusalOf(register("free", { email: "taken@example.com" }))).toBe("EMAIL_TAKEN");
    expect(await count("idempotency_keys where user_id is null")).toBe(before);
    expect(await refusalOf(register("free"))).toBe("no error");
  });
});
