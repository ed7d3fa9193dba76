import { randomUUID } from "node:crypto";
import type { DescMethodUnary } from "@bufbuild/protobuf";
import { ApiKeyService } from "@turnwright/contract/auth/v1/api_key_service";
import { AuthService } from "@turnwright/contract/auth/v1/auth_service";
import { restApi } from "../e2e/api.ts";
import type { SurfaceCall } from "./surfaces.ts";

/** Something to create, once. */
export interface Creation {
  readonly call: SurfaceCall;
  /** Another request, for the same key. */
  readonly other: SurfaceCall;
  /** How often it was created. `answer` is the text of an answer. */
  effects(answer: string): Promise<number>;
}

/** Who creates, and who looks after. */
export interface Creator {
  readonly baseUrl: string;
  readonly token: string;
  readonly adminToken: string;
}

/** A method that creates something. */
export interface CreationKind {
  readonly method: DescMethodUnary;
  make(creator: Creator): Promise<Creation>;
}

type CreationMaker = CreationKind["make"];

async function get<T>({ baseUrl }: Creator, token: string, path: string): Promise<T> {
  const response = await fetch(baseUrl + path, { headers: { authorization: `Bearer ${token}` } });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return ((await response.json()) as { data: T }).data;
}

type Fields = SurfaceCall["message"];

/** The calls of a creation: the same method and place, two messages. */
function calls(method: DescMethodUnary, path: string, token: string | undefined, message: Fields, other: Fields) {
  const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const call = { method, path, headers };
  return { call: { ...call, message }, other: { ...call, message: other } };
}

const keyIn = (answer: string): string => /"key":\s*"(sk-[^"]+)"/.exec(answer)?.[1] ?? "";

/** Creates an API key. */
const apiKey: CreationMaker = async (creator) => {
  const name = `key ${randomUUID()}`;
  return {
    ...calls(ApiKeyService.method.createApiKey, "/v1/api-keys", creator.token, { name }, { name: `${name}!` }),
    async effects() {
      const { api_keys: keys } = await get<{ api_keys: { name: string }[] }>(creator, creator.token, "/v1/api-keys");
      return keys.filter((key) => key.name.startsWith(name)).length;
    },
  };
};

/** Gives an API key another secret: two rotations would leave the first answer without effect. */
const rotation: CreationMaker = async (creator) => {
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

/** Registers an account, whom nobody knows yet. */
const account: CreationMaker = async (creator) => {
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

/** What can be created, by name. A new method that takes an Idempotency-Key gets a line here. */
export const creations: Readonly<Record<string, CreationKind>> = {
  "api key": { method: ApiKeyService.method.createApiKey, make: apiKey },
  "rotated key": { method: ApiKeyService.method.rotateApiKey, make: rotation },
  account: { method: AuthService.method.register, make: account },
};
