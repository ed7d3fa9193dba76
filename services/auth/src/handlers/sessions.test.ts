import { detailOf, ErrorReason, reasonOf } from "@turnwright/platform/errors";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type AuthFixture, password, refusalOf, startAuthFixture } from "../../testing/auth.ts";
import { refreshesPerMinute } from "../store/sessions.ts";

let fixture: AuthFixture;
beforeAll(async () => {
  fixture = await startAuthFixture();
});
afterAll(() => fixture.stop());

test("a session has its own limit of refreshes, which ends no session", async () => {
  const [person, other] = [await fixture.person(), await fixture.person()];
  const { auth } = fixture.anonymous();
  let { refreshToken } = person;
  const again = async () => {
    ({ refreshToken } = await auth.refresh({ refreshToken }));
  };
  for (let count = 0; count < 3; count += 1) await again();
  // The other refreshes of the minute, as the table has them.
  await fixture.pool.query(
    `insert into user_tokens (id, user_id, family_id, parent_id, token_type, token_hash, expires_at, is_revoked,
       rate_limit_per_minute, rate_limit_per_day)
     select gen_random_uuid(), user_id, family_id, id, 'refresh', decode(md5(n::text), 'hex'), expires_at, true,
       rate_limit_per_minute, rate_limit_per_day
     from user_tokens, generate_series(1, $2) as n where user_id = $1 and not is_revoked and token_type = 'refresh'`,
    [person.userId, refreshesPerMinute - 4],
  );
  await again();
  const refusal = await auth.refresh({ refreshToken }).catch((error: unknown) => error);
  expect(reasonOf(refusal)).toBe(ErrorReason.RATE_LIMITED);
  expect(detailOf(refusal)?.retryAfterSeconds).toBe(60);
  await expect(auth.refresh({ refreshToken: other.refreshToken })).resolves.toBeDefined();
  await fixture.pool.query("update user_tokens set created_at = created_at - interval '1 minute' where user_id = $1", [
    person.userId,
  ]);
  await again();
  expect(await refusalOf(auth.refresh({ refreshToken: "rt-unknown" }))).toBe("INVALID_REFRESH_TOKEN");
});

test("sessions tell the client of their last refresh, bounded", async () => {
  const { email } = await fixture.person();
  const first = await fixture.anonymous("2001:db8::1", "Firefox/150").auth.login({ email, password });
  const sessionsOf = async (accessToken: string) => (await (await fixture.holder(accessToken)).auth.listSessions({})).sessions;
  const current = (await sessionsOf(first.accessToken)).find(({ isCurrent }) => isCurrent);
  expect(current).toMatchObject({ userAgent: "Firefox/150", address: "2001:db8::1" });
  const later = fixture.anonymous("198.51.100.7".padEnd(500, "x"), "a".repeat(5_000));
  const { accessToken } = await later.auth.refresh({ refreshToken: first.refreshToken });
  const moved = (await sessionsOf(accessToken)).find(({ id }) => id === current?.id);
  expect(moved?.userAgent).toBe("a".repeat(300));
  expect(moved?.address).toHaveLength(64);
});

test("a session may make 600 requests a minute, and an API key that it makes 60, as before", async () => {
  const person = await fixture.person();
  expect(person.identity.rateLimitPerMinute).toBe(600);
  const made = await person.keys.createApiKey({ name: "a" });
  expect(made.apiKey?.rateLimitPerMinute).toBe(60);
  const wanted = await person.keys.createApiKey({ name: "b", rateLimitPerMinute: 500 });
  expect(wanted.apiKey?.rateLimitPerMinute).toBe(60);
  const key = await fixture.holder(wanted.key);
  expect(key.identity.rateLimitPerMinute).toBe(60);
  const refreshed = await fixture.anonymous().auth.refresh({ refreshToken: person.refreshToken });
  expect((await fixture.holder(refreshed.accessToken)).identity.rateLimitPerMinute).toBe(600);
});
