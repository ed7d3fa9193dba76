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
import { type Api, ApiError, callOf, eventData, readCompletion, readTurn } from "./api.ts";

const utf8 = {
  encode: (value: object) => new TextEncoder().encode(JSON.stringify(value)),
  decode: (b: Uint8Array) => new TextDecoder().decode(b),
};

/** The suite's client over the generated services; with a gRPC transport over gRPC. */
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
