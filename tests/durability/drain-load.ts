import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { chat, countStream, noStreams, reasonOf, type StreamCounts } from "./counted-stream.ts";
import { type Client, createClient } from "./load-client.ts";

/** Observations of a load. */
export interface LoadCounts extends StreamCounts {
  /** Unary calls. */
  unary: number;
  /** Unary calls that did not succeed. */
  readonly failures: string[];
}

const sum = { id: "call_1", type: "function", function: { name: "calculator", arguments: '{"expression":"1337*42"}' } };

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
  const counts: LoadCounts = { unary: 0, failures: [], ...noStreams() };
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
    for (let at = from; !isOver; at += 1) await countStream(client, token, counts, { stored: at % 2 === 0, length });
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
