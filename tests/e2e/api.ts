import { type MessageInitShape, toJson } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { AgentService } from "@turnwright/contract/agent/v1/agent_service";
import { CompletionService, StreamFormat } from "@turnwright/contract/agent/v1/completion_service";
import { AuthService } from "@turnwright/contract/auth/v1/auth_service";
import { ConversationService } from "@turnwright/contract/conversation/v1/conversation_service";
import type { ToolCallSchema } from "@turnwright/contract/tool/v1/tool";
import { ToolService } from "@turnwright/contract/tool/v1/tool_service";

/** An error of any surface, reduced to what the suite compares. */
export class ApiError extends Error {
  readonly unauthenticated: boolean;
  readonly notFound: boolean;
  readonly invalid: boolean;

  constructor(message: string, kind: { unauthenticated?: boolean; notFound?: boolean; invalid?: boolean }) {
    super(message);
    this.unauthenticated = kind.unauthenticated ?? false;
    this.notFound = kind.notFound ?? false;
    this.invalid = kind.invalid ?? false;
  }
}

/** An answer to a message. */
export interface Turn {
  conversationId: string;
  response: string;
  /** The stored answer's text; undefined while the run waits for a person. */
  message: string | undefined;
}

/** A conversation as its owner reads it. */
export interface Record {
  status: string;
  roles: string[];
  contents: string[];
  sequenceNumbers: number[];
  pendingCalls: string[];
}

/** What the end-to-end suite asks of a surface. REST and Connect clients implement it, so that both run the same suite. */
export interface Api {
  register(email: string, password: string): Promise<{ id: string; email: string }>;
  login(email: string, password: string): Promise<{ accessToken: string; refreshToken: string; expiresIn: number }>;
  refresh(refreshToken: string): Promise<{ accessToken: string }>;
  listTools(token: string): Promise<string[]>;
  executeTool(token: string, name: string, args: unknown): Promise<unknown>;
  batchTools(token: string, calls: { name: string; args: unknown }[]): Promise<unknown[]>;
  complete(token: string, body: object): Promise<{ content: string; totalTokens: number; toolCalls: string[] }>;
  streamComplete(token: string, body: object): Promise<{ frames: string[]; done: boolean }>;
  createConversation(token: string, message: string, agentType?: string): Promise<Turn>;
  sendMessage(token: string, conversationId: string, message: string): Promise<Turn>;
  streamTurn(token: string, message: string): Promise<{ types: string[]; text: string; conversationId: string }>;
  approve(
    token: string,
    conversationId: string,
    approved: boolean,
    reason: string,
  ): Promise<{ status: string; response: string }>;
  getConversation(token: string, conversationId: string): Promise<Record>;
  listConversations(token: string): Promise<{ ids: string[]; total: number }>;
}

/** Data of server-sent events, in order; comments are dropped. */
export function eventData(text: string): string[] {
  return text
    .split(/\r?\n\r?\n/)
    .flatMap((event) => event.split(/\r?\n/))
    .filter((line) => line.startsWith("data:"))
    .map((line) => line.slice(5).trim());
}

const callOf = (name: string, args: unknown, index = 1) => ({
  id: `call_${index}`,
  type: "function",
  function: { name, arguments: JSON.stringify(args) },
});

interface WireConversation {
  conversation: { status: string };
  messages: { role: string; content: string; sequence_number: number }[];
  pending_approvals: { call_id: string }[];
}
interface WireTurn {
  conversation_id: string;
  response: string;
  message: { content: string } | null;
}

/** The suite's API over REST. */
export function restApi(baseUrl: string): Api {
  const send = async (method: string, path: string, token?: string, body?: unknown): Promise<Response> => {
    const response = await fetch(`${baseUrl}${path}`, {
      method,
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    if (response.ok) return response;
    const { error } = (await response.json()) as { error: { message: string; code: string } };
    throw new ApiError(`${response.status} ${error.code}: ${error.message}`, {
      unauthenticated: response.status === 401,
      notFound: response.status === 404,
      invalid: response.status === 400,
    });
  };
  const data = async <T>(method: string, path: string, token?: string, body?: unknown): Promise<T> => {
    const envelope = (await (await send(method, path, token, body)).json()) as { success: boolean; data: T };
    if (envelope.success !== true) throw new Error(`No success in ${JSON.stringify(envelope)}`);
    return envelope.data;
  };
  const turn = (wire: WireTurn): Turn => ({
    conversationId: wire.conversation_id,
    response: wire.response,
    message: wire.message?.content,
  });
  return {
    register: async (email, password) =>
      (
        await data<{ user: { id: string; email: string } }>("POST", "/v1/auth/register", undefined, {
          email,
          password,
          name: "E2E",
        })
      ).user,
    login: async (email, password) => {
      const tokens = await data<{ access_token: string; refresh_token: string; expires_in: number }>(
        "POST",
        "/v1/auth/login",
        undefined,
        {
          email,
          password,
        },
      );
      return { accessToken: tokens.access_token, refreshToken: tokens.refresh_token, expiresIn: tokens.expires_in };
    },
    refresh: async (token) => ({
      accessToken: (await data<{ access_token: string }>("POST", "/v1/auth/refresh", undefined, { refresh_token: token }))
        .access_token,
    }),
    listTools: async (token) =>
      (await data<{ tools: { function: { name: string } }[] }>("GET", "/v1/tools", token)).tools.map(
        (tool) => tool.function.name,
      ),
    executeTool: (token, name, args) => data("POST", "/v1/tools/execute", token, callOf(name, args)),
    batchTools: async (token, calls) =>
      (
        await data<{ results: unknown[] }>(
          "POST",
          "/v1/tools/batch",
          token,
          calls.map((call, i) => callOf(call.name, call.args, i)),
        )
      ).results,
    complete: async (token, body) => {
      const completion = (await (await send("POST", "/v1/chat/completions", token, body)).json()) as ChatCompletionBody;
      return readCompletion(completion);
    },
    streamComplete: async (token, body) => {
      const response = await send("POST", "/v1/chat/completions", token, { ...body, stream: true });
      const frames = eventData(await response.text());
      return { frames: frames.filter((frame) => frame !== "[DONE]"), done: frames.at(-1) === "[DONE]" };
    },
    createConversation: async (token, message, agentType) =>
      turn(
        await data<WireTurn>("POST", "/v1/conversations", token, { message, ...(agentType ? { agent_type: agentType } : {}) }),
      ),
    sendMessage: async (token, id, message) =>
      turn(await data<WireTurn>("POST", `/v1/conversations/${encodeURIComponent(id)}/messages`, token, { message })),
    streamTurn: async (token, message) => {
      const response = await send("POST", "/v1/conversations", token, { message, stream: true });
      const frames = eventData(await response.text());
      if (frames.at(-1) !== "[DONE]") throw new Error(`The stream did not end with [DONE]: ${frames.at(-1)}`);
      const events = frames
        .slice(0, -1)
        .map((frame) => JSON.parse(frame) as { type: string; delta?: string; conversation_id?: string });
      return readTurn(
        events.map((event) => ({ type: event.type, delta: event.delta ?? "", conversationId: event.conversation_id ?? "" })),
      );
    },
    approve: (token, id, approved, reason) => data("POST", `/v1/conversations/${id}/approve`, token, { approved, reason }),
    getConversation: async (token, id) => {
      const wire = await data<WireConversation>("GET", `/v1/conversations/${encodeURIComponent(id)}`, token);
      return {
        status: wire.conversation.status,
        roles: wire.messages.map((message) => message.role),
        contents: wire.messages.map((message) => message.content),
        sequenceNumbers: wire.messages.map((message) => message.sequence_number),
        pendingCalls: wire.pending_approvals.map((approval) => approval.call_id),
      };
    },
    listConversations: async (token) => {
      const page = await data<{ conversations: { id: string }[]; total: number }>("GET", "/v1/conversations", token);
      return { ids: page.conversations.map((conversation) => conversation.id), total: page.total };
    },
  };
}

interface ChatCompletionBody {
  choices: { message: { content: string | null; tool_calls?: { function: { name: string } }[] } }[];
  usage: { total_tokens: number };
}

function readCompletion(completion: ChatCompletionBody) {
  const message = completion.choices[0]?.message;
  return {
    content: message?.content ?? "",
    totalTokens: completion.usage.total_tokens,
    toolCalls: (message?.tool_calls ?? []).map((call) => call.function.name),
  };
}

function readTurn(events: { type: string; delta: string; conversationId: string }[]) {
  return {
    types: events.map((event) => event.type),
    text: events
      .filter((event) => event.type === "content")
      .map((event) => event.delta)
      .join(""),
    conversationId: events.find((event) => event.conversationId !== "")?.conversationId ?? "",
  };
}

const utf8 = {
  encode: (value: object) => new TextEncoder().encode(JSON.stringify(value)),
  decode: (b: Uint8Array) => new TextDecoder().decode(b),
};

/** The suite's API over Connect clients of the generated services. */
export function connectApi(baseUrl: string, transport: Transport = createConnectTransport({ baseUrl, httpVersion: "1.1" })): Api {
  const auth = createClient(AuthService, transport);
  const agent = createClient(AgentService, transport);
  const completions = createClient(CompletionService, transport);
  const conversations = createClient(ConversationService, transport);
  const tools = createClient(ToolService, transport);
  const as = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });
  const call = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work;
    } catch (error) {
      const { code, message } = error as { code: number; message: string };
      throw new ApiError(message, { unauthenticated: code === 16, notFound: code === 5, invalid: code === 3 });
    }
  };
  const toolCall = (name: string, args: unknown, index = 1): MessageInitShape<typeof ToolCallSchema> => callOf(name, args, index);
  return {
    register: async (email, password) => {
      const { user } = await call(auth.register({ email, password, name: "E2E" }));
      return { id: user?.id ?? "", email: user?.email ?? "" };
    },
    login: (email, password) => call(auth.login({ email, password })),
    refresh: (refreshToken) => call(auth.refresh({ refreshToken })),
    listTools: async (token) => (await call(tools.listTools({}, as(token)))).tools.map((tool) => tool.function?.name ?? ""),
    executeTool: async (token, name, args) => {
      const { result } = await call(tools.executeTool({ call: toolCall(name, args) }, as(token)));
      return plainValue(result);
    },
    batchTools: async (token, calls) => {
      const { results } = await call(
        tools.batchExecuteTools({ calls: calls.map(({ name, args }, i) => toolCall(name, args, i)) }, as(token)),
      );
      return results.map(plainValue);
    },
    complete: async (token, body) => {
      const { body: answer } = await call(completions.complete({ body: utf8.encode(body) }, as(token)));
      return readCompletion(JSON.parse(utf8.decode(answer)));
    },
    streamComplete: async (token, body) => {
      let text = "";
      const request = { body: utf8.encode({ ...body, stream: true }), format: StreamFormat.UNSPECIFIED };
      for await (const batch of completions.streamComplete(request, as(token))) text += utf8.decode(batch.frames);
      const frames = eventData(text);
      return { frames: frames.filter((frame) => frame !== "[DONE]"), done: frames.at(-1) === "[DONE]" };
    },
    createConversation: async (token, message, agentType) => {
      const turn = await call(agent.createConversation({ message, agentType }, as(token)));
      return { conversationId: turn.conversationId, response: turn.response, message: turn.message?.content };
    },
    sendMessage: async (token, conversationId, message) => {
      const turn = await call(agent.sendMessage({ conversationId, message }, as(token)));
      return { conversationId: turn.conversationId, response: turn.response, message: turn.message?.content };
    },
    streamTurn: async (token, message) => {
      const events: { type: string; delta: string; conversationId: string }[] = [];
      for await (const event of agent.streamTurn({ message }, as(token))) events.push(event);
      return readTurn(events);
    },
    approve: async (token, conversationId, approved, reason) => {
      const decided = await call(agent.approveConversation({ conversationId, approved, reason }, as(token)));
      return { status: decided.status, response: decided.response ?? "" };
    },
    getConversation: async (token, conversationId) => {
      const found = await call(conversations.getConversation({ conversationId }, as(token)));
      return {
        status: found.conversation?.status ?? "",
        roles: found.messages.map((message) => message.role),
        contents: found.messages.map((message) => message.content),
        sequenceNumbers: found.messages.map((message) => message.sequenceNumber),
        pendingCalls: found.pendingApprovals.map((approval) => approval.callId),
      };
    },
    listConversations: async (token) => {
      const page = await call(conversations.listConversations({}, as(token)));
      return { ids: page.conversations.map((conversation) => conversation.id), total: page.total };
    },
  };
}

/** A google.protobuf.Value as plain JSON. */
function plainValue(value: unknown): unknown {
  return value === undefined ? undefined : JSON.parse(JSON.stringify(toJson(ValueSchema, value as never)));
}
