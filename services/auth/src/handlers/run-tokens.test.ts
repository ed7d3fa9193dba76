import { timestampMs } from "@bufbuild/protobuf/wkt";
import { ErrorReason, reasonOf } from "@turnwright/platform/errors";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AuthFixture, type Person, startAuthFixture } from "../../testing/auth.ts";

let fixture: AuthFixture;
let person: Person;
beforeAll(async () => {
  fixture = await startAuthFixture();
});
afterAll(() => fixture.stop());

const mint = (tokenId: string, userId = person.userId) => person.runTokens.mintInternalToken({ userId, tokenId });
const refusal = (call: Promise<unknown>) =>
  call.then(
    () => "no error",
    (error) => ({ reason: reasonOf(error), message: error.rawMessage }),
  );
const ended = (message: string) => ({ reason: ErrorReason.RUN_CREDENTIAL_ENDED, message });

describe("the token of a run", () => {
  test("is that of the key that started it, with its tools, models and ceiling", async () => {
    person = await fixture.person();
    const policy = { allowedTools: ["http_request"], allowedModels: ["gpt-test"], spendLimitUsd: 0.5 };
    const { apiKey } = await person.keys.createApiKey({ name: "k", ...policy });
    const { identity } = await mint(apiKey?.id ?? "");
    expect(identity).toMatchObject({
      userId: person.userId,
      tokenId: apiKey?.id,
      allowedTools: ["http_request"],
      allowedModels: ["gpt-test"],
      spendLimitMicros: 500_000n,
    });
  });

  test("outlives the access token of a login, until its session ends", async () => {
    person = await fixture.person();
    const { tokenId } = person.identity;
    // The access token has expired long since (nothing here stores it); the session's refresh token is valid for a
    // week.
    await fixture.pool.query("update user_tokens set created_at = created_at - interval '6 days' where family_id = $1", [
      tokenId,
    ]);
    const { expiresAt } = await mint(tokenId);
    expect(expiresAt === undefined ? 0 : timestampMs(expiresAt)).toBeGreaterThan(Date.now() + 200_000);
    await fixture.anonymous().auth.refresh({ refreshToken: person.refreshToken });
    expect((await mint(tokenId)).identity?.tokenId).toBe(tokenId);
    await person.auth.logout({});
    expect(await refusal(mint(tokenId))).toEqual(ended("The login that started this run has ended: its session was ended."));
  });

  test("is refused with the cause once its credential has ended", async () => {
    person = await fixture.person();
    const keyOf = async () => (await person.keys.createApiKey({ name: "k" })).apiKey?.id ?? "";
    const [revoked, expired, gone, live] = [await keyOf(), await keyOf(), await keyOf(), await keyOf()];
    const { tokenId } = person.identity;
    await person.keys.revokeApiKey({ apiKeyId: revoked });
    await fixture.pool.query("update user_tokens set expires_at = now() where id = $1 or family_id = $2", [expired, tokenId]);
    await fixture.pool.query("delete from user_tokens where id = $1", [gone]);
    expect(await refusal(mint(revoked))).toEqual(ended("The API key that started this run was revoked."));
    expect(await refusal(mint(expired))).toEqual(ended("The API key that started this run has expired."));
    expect(await refusal(mint(tokenId))).toEqual(ended("The login that started this run has ended: its session has expired."));
    expect(await refusal(mint(gone))).toEqual(ended("The credential that started this run no longer exists."));
    const other = await fixture.person();
    expect(await refusal(mint(revoked, other.userId))).toEqual(ended("The credential that started this run no longer exists."));
    await fixture.pool.query("update users set is_active = false where id = $1", [person.userId]);
    expect(await refusal(mint(live))).toEqual(ended("The account that started this run is disabled."));
  });
});
