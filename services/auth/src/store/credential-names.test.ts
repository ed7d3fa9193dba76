import { afterAll, beforeAll, expect, test } from "vitest";
import { type AuthFixture, startAuthFixture } from "../../testing/auth.ts";

let fixture: AuthFixture;
beforeAll(async () => {
  fixture = await startAuthFixture();
});
afterAll(() => fixture.stop());

test("credentials are named for their own account alone; revoked keys keep their names, sessions have none", async () => {
  const [person, other] = [await fixture.person(), await fixture.person()];
  const keyOf = async (owner: typeof person, name: string) => (await owner.keys.createApiKey({ name })).apiKey?.id ?? "";
  const [ci, old, foreign] = [await keyOf(person, "ci"), await keyOf(person, "old"), await keyOf(other, "foreign")];
  await person.keys.revokeApiKey({ apiKeyId: old });
  const tokenIds = [ci, old, foreign, person.identity.tokenId];
  const { userName, apiKeys } = await person.runTokens.nameCredentials({ userId: person.userId, tokenIds });
  expect(userName).toBe("A person");
  expect(Object.fromEntries(apiKeys.map(({ id, name }) => [id, name]))).toEqual({ [ci]: "ci", [old]: "old" });
  const unknown = await person.runTokens.nameCredentials({ userId: ci, tokenIds });
  expect(unknown).toMatchObject({ userName: "", apiKeys: [] });
});
