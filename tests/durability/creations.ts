import { randomUUID } from "node:crypto";
import { AgentService } from "@turnwright/contract/agent/v1/agent_service";
import { RunService } from "@turnwright/contract/agent/v1/run_service";
import { ApiKeyService } from "@turnwright/contract/auth/v1/api_key_service";
import { AuthService } from "@turnwright/contract/auth/v1/auth_service";
import { InviteService } from "@turnwright/contract/auth/v1/invite_service";
import { UserService } from "@turnwright/contract/auth/v1/user_service";
import { ConversationService } from "@turnwright/contract/conversation/v1/conversation_service";
import { WebhookService } from "@turnwright/contract/conversation/v1/webhook_service";
import { type CreationKind, type CreationMaker, type Creator, calls, get } from "./creation.ts";
import { account, accountByAdmin, apiKey, invite, passwordReset, rotation } from "./creations-of-access.ts";

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
