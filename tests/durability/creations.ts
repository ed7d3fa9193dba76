import { randomUUID } from "node:crypto";
import type { DescMethodUnary } from "@bufbuild/protobuf";
import { AgentService } from "@turnwright/contract/agent/v1/agent_service";
import { RunService } from "@turnwright/contract/agent/v1/run_service";
import { ApiKeyService } from "@turnwright/contract/auth/v1/api_key_service";
import { AuthService } from "@turnwright/contract/auth/v1/auth_service";
import { InviteService } from "@turnwright/contract/auth/v1/invite_service";
import { UserService } from "@turnwright/contract/auth/v1/user_service";
import { ConversationService } from "@turnwright/contract/conversation/v1/conversation_service";
import { WebhookService } from "@turnwright/contract/conversation/v1/webhook_service";
import { restApi } from "../e2e/api.ts";
import type { SurfaceCall } from "./surfaces.ts";

/** One resource to create. */
export interface Creation {
  readonly call: SurfaceCall;
  /** A different request for the same key. */
  readonly other: SurfaceCall;
  /** How often the resource was created, given the text of a response. */
  effects(answer: string): Promise<number>;
  /** The part of a response that must be equal in all of them; by default the whole response. */
  named?(answer: string): string;
}

/** The account that creates, and its access to the results. */
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

/** The calls of a creation: one method and path with two different messages. */
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

/** Rotates the secret of an API key: a second rotation would invalidate the first response's secret. */
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

/** Registers an unknown account. */
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

/** Creates an account as an admin. */
const accountByAdmin: CreationMaker = async (creator) => {
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
const passwordReset: CreationMaker = async (creator) => {
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
const invite: CreationMaker = async (creator) => {
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

/** Begins a conversation with a message and waits for the answer. */
const conversation: CreationMaker = async (creator) => {
  const message = `once ${randomUUID()}`;
  return {
    ...calls(AgentService.method.createConversation, "/v1/conversations", creator.token, { message }, { message: `${message}!` }),
    effects: () => timesSaid(creator, message),
  };
};

/** Copies a conversation, which is found by its title, up to its end or its beginning. */
const fork: CreationMaker = async (creator) => {
  const title = `fork ${randomUUID()}`;
  const response = await fetch(`${creator.baseUrl}/v1/conversations`, {
    method: "POST",
    headers: { authorization: `Bearer ${creator.token}`, "content-type": "application/json" },
    body: JSON.stringify({ message: title }),
  });
  const { data } = (await response.json()) as { data: { conversation_id: string } };
  const conversationId = data.conversation_id;
  const path = `/v1/conversations/${conversationId}/fork`;
  const method = ConversationService.method.forkConversation;
  return {
    ...calls(method, path, creator.token, { conversationId, beforeSequence: 3 }, { conversationId, beforeSequence: 1 }),
    async effects() {
      const list = `/v1/conversations?limit=100&q=${encodeURIComponent(title)}`;
      const { conversations } = await get<{ conversations: { id: string }[] }>(creator, creator.token, list);
      return conversations.filter(({ id }) => id !== conversationId).length;
    },
  };
};

/** How many of the user's messages, over all conversations, begin with the text. */
async function timesSaid(creator: Creator, text: string): Promise<number> {
  const list = "/v1/conversations?limit=100";
  const { conversations } = await get<{ conversations: { id: string }[] }>(creator, creator.token, list);
  const all = await Promise.all(
    conversations.map(({ id }) =>
      get<{ messages: { role: string; content: string }[] }>(creator, creator.token, `/v1/conversations/${id}/messages`),
    ),
  );
  return all.flatMap(({ messages }) => messages).filter(({ role, content }) => role === "user" && content.startsWith(text))
    .length;
}

/** Sends a message to an existing conversation and waits for the answer. */
const message: CreationMaker = async (creator) => {
  const response = await fetch(`${creator.baseUrl}/v1/conversations`, {
    method: "POST",
    headers: { authorization: `Bearer ${creator.token}`, "content-type": "application/json" },
    body: JSON.stringify({ message: "hello" }),
  });
  const { data } = (await response.json()) as { data: { conversation_id: string } };
  const conversationId = data.conversation_id;
  const text = `once ${randomUUID()}`;
  const path = `/v1/conversations/${conversationId}/messages`;
  return {
    ...calls(
      AgentService.method.sendMessage,
      path,
      creator.token,
      { conversationId, message: text },
      { conversationId, message: `${text}!` },
    ),
    effects: () => timesSaid(creator, text),
  };
};

/** Begins a run in the background. Responses report its current status, so only what they identify is compared. */
const run: CreationMaker = async (creator) => {
  const message = `once ${randomUUID()}`;
  return {
    ...calls(RunService.method.createRun, "/v1/runs", creator.token, { message }, { message: `${message}!` }),
    effects: () => timesSaid(creator, message),
    named: (answer) => /"(?:conversation_id|conversationId)":\s*"([^"]+)"/.exec(answer)?.[1] ?? answer,
  };
};

/** Retries a cancelled run. */
const retriedRun: CreationMaker = async (creator) => {
  const headers = { authorization: `Bearer ${creator.token}`, "content-type": "application/json" };
  const post = async (path: string, body: object) => {
    const response = await fetch(creator.baseUrl + path, { method: "POST", headers, body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return ((await response.json()) as { data: { run: { id: string; conversation_id: string } } }).data.run;
  };
  const cancelled = async () => {
    // Waits for an approval until it is cancelled.
    const { id } = await post("/v1/runs", { message: "Send an HTTP request to http://example.com/ saying hello" });
    return await post(`/v1/runs/${id}/cancel`, {});
  };
  const [{ id: runId, conversation_id: conversationId }, { id: otherId }] = [await cancelled(), await cancelled()];
  const pathOf = (id: string) => `/v1/runs/${id}/retry`;
  const { call, other } = calls(RunService.method.retryRun, pathOf(runId), creator.token, { runId }, { runId: otherId });
  return {
    call,
    other: { ...other, path: pathOf(otherId) },
    async effects() {
      const list = `/v1/conversations/${conversationId}/runs`;
      const { runs } = await get<{ runs: { id: string }[] }>(creator, creator.token, list);
      return runs.filter(({ id }) => id !== runId).length;
    },
    named: (answer) => /"id":\s*"([^"]+)"/.exec(answer)?.[1] ?? answer,
  };
};

/** An address that answers nothing, on loopback; see `WEBHOOK_ALLOWED_HOSTS` of the tested system. */
const hook = { url: "https://127.0.0.1:9/hook", events: ["run.cancelled"] };

const webhooksOf = (creator: Creator) =>
  get<{ webhooks: { id: string; description: string }[] }>(creator, creator.token, "/v1/webhooks");

/** Creates a webhook. */
const webhook: CreationMaker = async (creator) => {
  const description = `once ${randomUUID()}`;
  const request = { ...hook, description };
  const other = { ...hook, description: `${description}!` };
  return {
    ...calls(WebhookService.method.createWebhook, "/v1/webhooks", creator.token, request, other),
    async effects() {
      const { webhooks } = await webhooksOf(creator);
      return webhooks.filter((one) => one.description.startsWith(description)).length;
    },
  };
};

/** Replaces the secret of a webhook: all responses have the same one. */
const rotatedWebhook: CreationMaker = async (creator) => {
  const ids: string[] = [];
  for (const description of ["rotated", "other"]) {
    const response = await fetch(`${creator.baseUrl}/v1/webhooks`, {
      method: "POST",
      headers: { authorization: `Bearer ${creator.token}`, "content-type": "application/json" },
      body: JSON.stringify({ ...hook, description }),
    });
    ids.push(((await response.json()) as { data: { webhook: { id: string } } }).data.webhook.id);
  }
  const [webhookId, otherId] = ids;
  const path = `/v1/webhooks/${webhookId}/rotate`;
  const method = WebhookService.method.rotateWebhookSecret;
  const { call, other } = calls(method, path, creator.token, { webhookId }, { webhookId: otherId });
  return {
    call,
    other: { ...other, path: `/v1/webhooks/${otherId}/rotate` },
    async effects() {
      const { webhooks } = await webhooksOf(creator);
      return webhooks.filter(({ id }) => id === webhookId).length;
    },
  };
};

/** The creating methods by name. A new method that takes an Idempotency-Key gets a line here. */
export const creations: Readonly<Record<string, CreationKind>> = {
  "api key": { method: ApiKeyService.method.createApiKey, make: apiKey },
  "rotated key": { method: ApiKeyService.method.rotateApiKey, make: rotation },
  account: { method: AuthService.method.register, make: account },
  "account by an admin": { method: UserService.method.createUser, make: accountByAdmin },
  "password reset": { method: UserService.method.resetUserPassword, make: passwordReset },
  invite: { method: InviteService.method.createInvite, make: invite },
  conversation: { method: AgentService.method.createConversation, make: conversation },
  message: { method: AgentService.method.sendMessage, make: message },
  "forked conversation": { method: ConversationService.method.forkConversation, make: fork },
  run: { method: RunService.method.createRun, make: run },
  "retried run": { method: RunService.method.retryRun, make: retriedRun },
  webhook: { method: WebhookService.method.createWebhook, make: webhook },
  "rotated webhook": { method: WebhookService.method.rotateWebhookSecret, make: rotatedWebhook },
};
