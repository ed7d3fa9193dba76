import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { Agent, request } from "undici";
import { eventData } from "../e2e/api.ts";
import { words } from "./paced-model.ts";

/** Observations of a load. */
export interface LoadCounts {
  /** Unary calls that succeeded. */
  unary: number;
  /** Unary calls that did not succeed. */
  readonly failures: string[];
  /** Streams that ended properly. */
  ended: number;
  /** Streams cut because their orchestrator ended; another one then answered the run. */
  handedOver: number;
  /** Streams that ended with an error event at a gateway's drain limit, while their run was answered. */
  outlived: number;
  /** Streams that ended with an error event and of which nothing is stored. */
  cut: number;
  /** Streams that ended without a final event, or whose run was never answered. */
  readonly broken: string[];
  /** Longest time from the last event of a handed-over stream to its complete answer, in milliseconds. */
  longestHandover: number;
}

/**
 * A client that knows all gateways, keeps its connections, and tries the next gateway only when a connection is
 * refused.
 */
export function createClient(gateways: readonly string[]) {
  const agent = new Agent({ connections: 64, pipelining: 1 });
  let turn = 0;
  const send = async (method: "GET" | "POST", path: string, options: { token?: string; body?: object } = {}) => {
    const { token, body } = options;
    const headers = {
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    };
    turn += 1;
    const first = turn;
    for (let refused = 0; ; refused += 1) {
      const origin = gateways[(first + refused) % gateways.length] ?? "";
      try {
        const options = { method, headers, body: body === undefined ? null : JSON.stringify(body), dispatcher: agent };
        return await request(`${origin}${path}`, options);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ECONNREFUSED" || refused + 1 >= gateways.length) throw error;
      }
    }
  };
  const call = async <T>(method: "GET" | "POST", path: string, options: { token?: string; body?: object } = {}): Promise<T> => {
    const { statusCode, body } = await send(method, path, options);
    const text = await body.text();
    if (statusCode >= 300) throw new Error(`${statusCode} ${text.slice(0, 200)}`);
    return JSON.parse(text) as T;
  };
  return { send, call, close: () => agent.destroy() };
}

type Client = ReturnType<typeof createClient>;

function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return [code, message].filter(Boolean).join(" ");
}

const sum = { id: "call_1", type: "function", function: { name: "calculator", arguments: '{"expression":"1337*42"}' } };
const chat = (content: string, stream: boolean) => ({ model: "gpt-4o-mini", stream, messages: [{ role: "user", content }] });

/** Unary calls of each kind in turn: reads, a login, a tool, completions, stored turns with a tool. */
function unaryCalls(client: Client, account: { email: string; password: string; token: string }): (() => Promise<unknown>)[] {
  const { token } = account;
  return [
    () => client.call("GET", "/v1/conversations?limit=5", { token }),
    () => client.call("POST", "/v1/tools/execute", { token, body: sum }),
    () => client.call("POST", "/v1/conversations", { token, body: { message: "use a tool" } }),
    () => client.call("GET", "/v1/tools", { token }),
    () => client.call("POST", "/v1/chat/completions", { token, body: chat("hello", false) }),
    () => client.call("GET", "/v1/agents", { token }),
    () => client.call("POST", "/v1/conversations", { token, body: { message: "hello" } }),
    () => client.call("POST", "/v1/auth/login", { body: { email: account.email, password: account.password } }),
  ];
}

interface StoredTurn {
  readonly data: { messages: { role: string; content: string }[] };
}

/** Waits until a conversation has its answer; polls through gateways that may fail meanwhile. */
async function answered(client: Client, token: string, conversationId: string, text: string, withinMs: number): Promise<boolean> {
  for (const until = Date.now() + withinMs; Date.now() < until; await delay(100)) {
    const path = `/v1/conversations/${conversationId}`;
    const { data } = await client.call<StoredTurn>("GET", path, { token }).catch(() => ({ data: { messages: [] } }));
    if (data.messages.at(-1)?.role === "assistant") return data.messages.at(-1)?.content === text;
  }
  return false;
}

/** Streams a turn (stored) or a completion and records how it ended. */
async function stream(
  client: Client,
  token: string,
  counts: LoadCounts,
  kind: { stored: boolean; length: number },
): Promise<void> {
  const said = `say ${kind.length}`;
  const [path, body] = kind.stored
    ? ["/v1/conversations", { message: said, stream: true }]
    : ["/v1/chat/completions", chat(said, true)];
  const pieces: string[] = [];
  try {
    const response = await client.send("POST", path, { token, body });
    const decoder = new TextDecoder();
    for await (const chunk of response.body) pieces.push(decoder.decode(chunk as Uint8Array, { stream: true }));
    if (response.statusCode !== 200) throw new Error(`${response.statusCode} ${pieces.join("").slice(0, 200)}`);
  } catch (error) {
    counts.broken.push(`stream: ${reasonOf(error)}`);
    return;
  }
  const events = eventData(pieces.join(""));
  const last = events.at(-1) ?? "";
  if (last === "[DONE]") {
    counts.ended += 1;
    return;
  }
  if (!last.startsWith('{"error":')) {
    counts.broken.push(`stream without a final event: ${last.slice(0, 200)}`);
    return;
  }
  if (!kind.stored) {
    counts.cut += 1;
    return;
  }
  const { conversation_id: conversationId } = JSON.parse(events[0] ?? "{}") as { conversation_id?: string };
  const cutAt = performance.now();
  if (await answered(client, token, conversationId ?? "", words(kind.length).join(" "), 60_000)) {
    if (last.includes("RUN_HANDED_OVER")) {
      counts.handedOver += 1;
      counts.longestHandover = Math.max(counts.longestHandover, performance.now() - cutAt);
    } else counts.outlived += 1;
  } else counts.broken.push(`run without an answer after ${last.slice(0, 200)}`);
}

/** The amount of load; long streams have enough words to outlast the limit of a drain. */
export interface LoadShape {
  readonly unary: number;
  readonly streams: number;
  readonly longStreams: number;
  readonly longWords: number;
}

/**
 * Loads a mesh until `stop` is called, which waits for the calls in progress. `onUnary` is told the begin and the end
 * of each unary call, in milliseconds of `performance.now()`.
 */
export async function startLoad(
  gateways: readonly string[],
  shape: LoadShape,
  onUnary: (begunAt: number, endedAt: number) => void = () => {},
) {
  const client = createClient(gateways);
  const account = { email: `drain-${randomUUID()}@example.com`, password: "correct-horse-battery" };
  await client.call("POST", "/v1/auth/register", { body: { ...account, name: "Drain" } });
  const { data } = await client.call<{ data: { access_token: string } }>("POST", "/v1/auth/login", { body: account });
  const token = data.access_token;
  const counts: LoadCounts = {
    unary: 0,
    failures: [],
    ended: 0,
    handedOver: 0,
    outlived: 0,
    cut: 0,
    broken: [],
    longestHandover: 0,
  };
  let isOver = false;
  const calls = unaryCalls(client, { ...account, token });
  const callOn = async (from: number) => {
    for (let at = from; !isOver; at += 1) {
      counts.unary += 1;
      const begunAt = performance.now();
      await calls[at % calls.length]?.().catch((error) => counts.failures.push(`call ${at % calls.length}: ${reasonOf(error)}`));
      onUnary(begunAt, performance.now());
      await delay(10);
    }
  };
  const streamOn = async (length: number, from: number) => {
    for (let at = from; !isOver; at += 1) await stream(client, token, counts, { stored: at % 2 === 0, length });
  };
  const running = [
    ...Array.from({ length: shape.unary }, (_, index) => callOn(index)),
    ...Array.from({ length: shape.streams }, (_, index) => streamOn(20, index)),
    ...Array.from({ length: shape.longStreams }, (_, index) => streamOn(shape.longWords, index)),
  ];
  return {
    counts,
    async stop() {
      isOver = true;
      await Promise.all(running);
      await client.close();
    },
  };
}
