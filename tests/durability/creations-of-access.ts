import { randomUUID } from "node:crypto";
import { ApiKeyService } from "@turnwright/contract/auth/v1/api_key_service";
import { AuthService } from "@turnwright/contract/auth/v1/auth_service";
import { InviteService } from "@turnwright/contract/auth/v1/invite_service";
import { UserService } from "@turnwright/contract/auth/v1/user_service";
import { restApi } from "../e2e/api.ts";
import { type CreationMaker, calls, get } from "./creation.ts";

const keyIn = (answer: string): string => /"key":\s*"(sk-[^"]+)"/.exec(answer)?.[1] ?? "";

/** Creates an API key. */
export const apiKey: CreationMaker = async (creator) => {
  const name = `key ${randomUUID()}`;
  return {
    ...calls(ApiKeyService.method.createApiKey, "/v1/api-keys", creator.token, { name }, { name: `${name}!` }),
    async effects() {
      const { api_keys: keys } = await get<{ api_keys: { name: string }[] }>(creator, creator.token, "/v1/api-keys");
      return keys.filter((key) => key.name.startsWith(name)).length;
    },
  };
};

/** Rotates the secret of an API key: a second rotation would invalidate the first response's secret. */
export const rotation: CreationMaker = async (creator) => {
  const ids: string[] = [];
  for (const name of ["rotated", "other"]) {
    const response = await fetch(`${creator.baseUrl}/v1/api-keys`, {
      method: "POST",
      headers: { authorization: `Bearer ${creator.token}`, "content-type": "application/json" },
      body: JSON.stringify({ name }),
    });
    ids.push(((await response.json()) as { data: { api_key: { id: string } } }).data.api_key.id);
  }
  const [apiKeyId, otherId] = ids;
  const path = `/v1/api-keys/${apiKeyId}/rotate`;
  const { call, other } = calls(ApiKeyService.method.rotateApiKey, path, creator.token, { apiKeyId }, { apiKeyId: otherId });
  return {
    call,
    other: { ...other, path: `/v1/api-keys/${otherId}/rotate` },
    async effects(answer) {
      const { api_keys: keys } = await get<{ api_keys: { id: string }[] }>(creator, keyIn(answer), "/v1/api-keys");
      return keys.filter(({ id }) => id === apiKeyId).length;
    },
  };
};

/** Registers an unknown account. */
export const account: CreationMaker = async (creator) => {
  const email = `${randomUUID()}@example.com`;
  const request = { email, password: "SecurePass123", name: "Once" };
  return {
    ...calls(AuthService.method.register, "/v1/auth/register", undefined, request, { ...request, password: "SecurePass124" }),
    async effects() {
      await restApi(creator.baseUrl).login(email, request.password);
      const { users } = await get<{ users: { email: string }[] }>(creator, creator.adminToken, "/v1/admin/users?limit=200");
      return users.filter((user) => user.email === email).length;
    },
  };
};

/** Creates an account as an admin. */
export const accountByAdmin: CreationMaker = async (creator) => {
  const email = `${randomUUID()}@example.com`;
  const request = { email, password: "SecurePass123", name: "Once" };
  const other = { ...request, password: "SecurePass124" };
  return {
    ...calls(UserService.method.createUser, "/v1/admin/users", creator.adminToken, request, other),
    async effects() {
      await restApi(creator.baseUrl).login(email, request.password);
      const { users } = await get<{ users: { email: string }[] }>(creator, creator.adminToken, "/v1/admin/users?limit=200");
      return users.filter((user) => user.email === email).length;
    },
  };
};

/** Resets a password: a second reset would make the first response's password wrong. */
export const passwordReset: CreationMaker = async (creator) => {
  const { adminToken: token } = creator;
  const email = `${randomUUID()}@example.com`;
  const made = await fetch(`${creator.baseUrl}/v1/admin/users`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify({ email, password: "SecurePass123", name: "Forgetful" }),
  });
  const { id: userId } = ((await made.json()) as { data: { user: { id: string } } }).data.user;
  const path = `/v1/admin/users/${userId}/password`;
  const method = UserService.method.resetUserPassword;
  return {
    ...calls(method, path, token, { userId }, { userId, revokeApiKeys: true }),
    async effects(answer) {
      const password = /"password":\s*"([^"]+)"/.exec(answer)?.[1] ?? "";
      await restApi(creator.baseUrl).login(email, password);
      return 1;
    },
  };
};

/** Creates an invite. */
export const invite: CreationMaker = async (creator) => {
  const email = `${randomUUID()}@example.com`;
  const other = { email: `other-${email}` };
  return {
    ...calls(InviteService.method.createInvite, "/v1/admin/invites", creator.adminToken, { email }, other),
    async effects() {
      const list = "/v1/admin/invites?limit=200";
      const { invites } = await get<{ invites: { email: string }[] }>(creator, creator.adminToken, list);
      return invites.filter((one) => one.email.endsWith(email)).length;
    },
  };
};
