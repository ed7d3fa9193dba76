import { createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { CompletionService } from "@turnwright/contract/agent/v1/completion_service";
import {
  type ScriptedModel,
  type ScriptedReply,
  type ScriptedRequest,
  startScriptedModel,
} from "@turnwright/testing/scripted-model";

const prompt = "word ".repeat(4_000);
const bodyOf = (stream: boolean, index: number) =>
  JSON.stringify({
    model: "priced",
    stream,
    tool_choice: "none",
    user: `call-${index}`,
    messages: [{ role: "user", content: prompt }],
  });

/** When a client disconnects: before the response head, before its first text, or in the middle of the text. */
const moments = ["before the head", "before the first text", "in the middle"] as const;
/** Prices: one millionth of a dollar per input token, ten per output token. */
export const spendEnvironment = {
  LLM_DEFAULT_MODEL: "priced",
  MODEL_PRICES: '{"priced":{"input":1,"output":10}}',
  RATE_LIMIT_PER_MINUTE: "1000000",
};

const never = new Promise<never>(() => {});
const replies: Readonly<Record<(typeof moments)[number], ScriptedReply>> = {
  "before the head": { beforeHeaders: never },
  "before the first text": { text: "late", pauseAfter: { pieces: 0, gate: never } },
  // An unstreamed answer has no middle: it comes whole, without token counts.
  "in the middle": { text: "word ".repeat(500), usage: null, pauseAfter: { pieces: 200, gate: never } },
};

/** Replies that never finish, and what was asked for them. */
export interface EndlessAnswers {
  /** Whether a request is one of the attack's calls. */
  isAsked(request: ScriptedRequest): boolean;
  answer(request: ScriptedRequest): ScriptedReply;
  /** Resolves once a call has reached the model; its name is the `user` of the request, or its message. */
  asked(call: string): Promise<void>;
  /** The bodies of the calls so far, by name. */
  readonly arrivals: Map<string, string>;
}

const nameOf = ({ body }: ScriptedRequest) => String(body.user ?? body.messages.at(-1)?.content);

/** The replies to an attack. */
export function endlessAnswers(): EndlessAnswers {
  const waiting = new Map<string, () => void>();
  const arrivals = new Map<string, string>();
  return {
    arrivals,
    isAsked: (request) => /^(?:call|poor)-\d+$/.test(nameOf(request)),
    answer(request) {
      const call = nameOf(request);
      arrivals.set(call, JSON.stringify(request.body));
      waiting.get(call)?.();
      return replies[momentOf(call)];
    },
    asked: (call) => (arrivals.has(call) ? Promise.resolve() : new Promise((resolve) => waiting.set(call, resolve))),
  };
}

/** A model that never finishes. */
export async function startEndlessModel(): Promise<EndlessAnswers & { readonly model: ScriptedModel }> {
  const endless = endlessAnswers();
  return { ...endless, model: await startScriptedModel({ answer: endless.answer }) };
}

function momentOf(call: string): (typeof moments)[number] {
  return moments[Number(/\d+$/.exec(call)?.[0] ?? 0) % moments.length] as (typeof moments)[number];
}

interface Caller {
  readonly baseUrl: string;
  readonly bearer: string;
}

/** A call whose client disconnects once `leave` resolves. Resolves when the client is gone. */
type Leaver = (caller: Caller, index: number, leave: Promise<void>) => Promise<void>;

function restCall(stream: boolean): Leaver {
  return async ({ baseUrl, bearer }, index, leave) => {
    const controller = new AbortController();
    void leave.then(() => controller.abort());
    const headers = { authorization: `Bearer ${bearer}`, "content-type": "application/json" };
    const init = { method: "POST", headers, body: bodyOf(stream, index), signal: controller.signal };
    await fetch(`${baseUrl}/v1/chat/completions`, init)
      .then((answer) => answer.text())
      .catch(() => {});
  };
}

function rpcCall(transportOf: (baseUrl: string) => Transport, stream: boolean): Leaver {
  return async ({ baseUrl, bearer }, index, leave) => {
    const controller = new AbortController();
    void leave.then(() => controller.abort());
    const options = { headers: { authorization: `Bearer ${bearer}` }, signal: controller.signal };
    const client = createClient(CompletionService, transportOf(baseUrl));
    const body = Buffer.from(bodyOf(stream, index));
    try {
      if (!stream) await client.complete({ body }, options);
      else for await (const _ of client.streamComplete({ body }, options)) if (controller.signal.aborted) break;
    } catch {
      // The client has disconnected.
    }
  };
}

/** A stored turn whose run is cancelled. */
const cancelledRun: Leaver = async ({ baseUrl, bearer }, index, leave) => {
  const headers = { authorization: `Bearer ${bearer}`, "content-type": "application/json" };
  const post = async (path: string, body: object) =>
    (await (await fetch(baseUrl + path, { method: "POST", headers, body: JSON.stringify(body) })).json()) as {
      data: { run: { id: string } };
    };
  const { data } = await post("/v1/runs", { message: `call-${index}`, model: "priced" });
  await leave;
  await post(`/v1/runs/${data.run.id}/cancel`, {});
};

const connect = (baseUrl: string) => createConnectTransport({ baseUrl, httpVersion: "1.1" });
const grpc = (baseUrl: string) => createGrpcTransport({ baseUrl });
const grpcWeb = (baseUrl: string) => createGrpcWebTransport({ baseUrl, httpVersion: "1.1" });

/** Every way to call a model and disconnect. */
export const leavers: Readonly<Record<string, Leaver>> = {
  "OpenAI, streamed": restCall(true),
  "OpenAI, whole": restCall(false),
  "Connect, streamed": rpcCall(connect, true),
  "Connect, whole": rpcCall(connect, false),
  "gRPC, streamed": rpcCall(grpc, true),
  "gRPC-web, streamed": rpcCall(grpcWeb, true),
  "a cancelled run": cancelledRun,
};

/** The minimum cost of an attack's calls, from what the model was sent. */
export interface AttackCost {
  readonly calls: number;
  readonly promptTokens: number;
}

/** Calls in every way and leaves each call at one of its moments, ten at a time. Returns the minimum cost. */
export async function leaveCalls(caller: Caller, endless: EndlessAnswers, count: number): Promise<AttackCost> {
  const ways = Object.values(leavers);
  let next = 0;
  const one = async () => {
    while (next < count) {
      const index = next++;
      const call = `call-${index}`;
      await (ways[Math.floor(index / moments.length) % ways.length] as Leaver)(caller, index, endless.asked(call));
    }
  };
  await Promise.all(Array.from({ length: 10 }, one));
  const bytes = [...endless.arrivals.values()].reduce((sum, body) => sum + body.length, 0);
  return { calls: endless.arrivals.size, promptTokens: Math.floor(bytes / 4) };
}

/** The usage recorded for a bearer. */
export async function usageOf({ baseUrl, bearer }: Caller) {
  const answer = await fetch(`${baseUrl}/v1/usage`, { headers: { authorization: `Bearer ${bearer}` } });
  const { data } = (await answer.json()) as {
    data: { total: Record<"requests" | "prompt_tokens" | "completion_tokens" | "estimated_tokens" | "cost_usd", number> };
  };
  return data.total;
}

/** The token of a new account, and its key with a spend ceiling in dollars. */
export async function spendingAccount(baseUrl: string, email: string, dollars: number): Promise<{ token: string; key: string }> {
  const post = async (path: string, body: object, bearer?: string) => {
    const headers = {
      "content-type": "application/json",
      ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }),
    };
    const answer = await fetch(baseUrl + path, { method: "POST", headers, body: JSON.stringify(body) });
    return ((await answer.json()) as { data: Record<string, string> }).data;
  };
  const credentials = { email, password: "SecurePass123" };
  await post("/v1/auth/register", { ...credentials, name: "S" });
  const { access_token: token = "" } = await post("/v1/auth/login", credentials);
  const { key = "" } = await post("/v1/api-keys", { name: "k", spend_limit_usd: dollars }, token);
  return { token, key };
}
