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

/** Answer to a message. */
export interface Turn {
  conversationId: string;
  response: string;
  /** The stored answer's text; undefined while the run waits for a person. */
  message: string | undefined;
}

/** A conversation as its user reads it. */
export interface Record {
  status: string;
  roles: string[];
  contents: string[];
  sequenceNumbers: number[];
  pendingCalls: string[];
}

/** Client of a surface, as the end-to-end suite needs it. REST and Connect clients run the same suite. */
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

/** Data of server-sent events, in order, without comments. */
export function eventData(text: string): string[] {
  return text
    .split(/\r?\n\r?\n/)
    .flatMap((event) => event.split(/\r?\n/))
    .filter((line) => line.startsWith("data:"))
    .map((line) => line.slice(5).trim());
}

/** A tool call in OpenAI's format. */
export const callOf = (name: string, args: unknown, index = 1) => ({
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

/** The suite's client over REST. */
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

/** A chat completion, reduced to what the suite compares. */
export function readCompletion(completion: ChatCompletionBody) {
  const message = completion.choices[0]?.message;
  return {
    content: message?.content ?? "",
    totalTokens: completion.usage.total_tokens,
    toolCalls: (message?.tool_calls ?? []).map((call) => call.function.name),
  };
}

/** Events of a streamed run, reduced to what the suite compares. */
export function readTurn(events: { type: string; delta: string; conversationId: string }[]) {
  return {
    types: events.map((event) => event.type),
    text: events
      .filter((event) => event.type === "content")
      .map((event) => event.delta)
      .join(""),
    conversationId: events.find((event) => event.conversationId !== "")?.conversationId ?? "",
  };
}
