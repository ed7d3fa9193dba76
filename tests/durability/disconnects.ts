import { randomUUID } from "node:crypto";
import { type IncomingMessage, request } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { setTimeout as delay } from "node:timers/promises";
import { restApi } from "../e2e/api.ts";
import { type ModelListeners, words } from "./paced-model.ts";

/** Protocols between client and gateway. */
export const protocols = ["HTTP/1.1", "HTTP/2"] as const;
export type Protocol = (typeof protocols)[number];

/** A request whose client sees the response begin and can disconnect. */
interface OpenRequest {
  /** Resolves with the first bytes of the body. */
  readonly firstBytes: Promise<void>;
  /** Destroys the connection. */
  leave(): void;
}

interface Sent {
  readonly path: string;
  readonly body: object;
  readonly token: string;
}

function openHttp1(baseUrl: string, { path, body, token }: Sent): OpenRequest {
  const sent = request(baseUrl + path, {
    method: "POST",
    agent: false,
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
  });
  sent.on("error", () => {});
  sent.end(JSON.stringify(body));
  const firstBytes = Promise.withResolvers<void>();
  sent.once("response", (response: IncomingMessage) => {
    response.on("error", () => {});
    response.on("data", () => firstBytes.resolve());
  });
  return { firstBytes: firstBytes.promise, leave: () => sent.destroy() };
}

function openHttp2(baseUrl: string, { path, body, token }: Sent): OpenRequest {
  const session = connectHttp2(baseUrl);
  session.on("error", () => {});
  const stream = session.request({
    ":method": "POST",
    ":path": path,
    authorization: `Bearer ${token}`,
    "content-type": "application/json",
  });
  stream.on("error", () => {});
  stream.end(JSON.stringify(body));
  const firstBytes = Promise.withResolvers<void>();
  stream.on("data", () => firstBytes.resolve());
  return { firstBytes: firstBytes.promise, leave: () => session.destroy() };
}

const openers = { "HTTP/1.1": openHttp1, "HTTP/2": openHttp2 } satisfies Record<Protocol, unknown>;

/** Events of the model, for tests that await them. */
export class ModelWatch implements ModelListeners {
  readonly #asked = new Map<string, PromiseWithResolvers<void>>();
  readonly #closed = new Map<string, PromiseWithResolvers<number>>();

  #of<T>(map: Map<string, PromiseWithResolvers<T>>, said: string): PromiseWithResolvers<T> {
    const known = map.get(said) ?? Promise.withResolvers<T>();
    map.set(said, known);
    return known;
  }

  onAsked(said: string): void {
    this.#of(this.#asked, said).resolve();
  }

  onClosed(said: string): void {
    this.#of(this.#closed, said).resolve(performance.now());
  }

  /** Resolves once the model was asked this. */
  asked(said: string): Promise<void> {
    return this.#of(this.#asked, said).promise;
  }

  /** Resolves with the time at which the model saw its caller disconnect. */
  closed(said: string): Promise<number> {
    return this.#of(this.#closed, said).promise;
  }
}

/** Moments at which a client leaves a completion. */
export const moments = ["streamed, in the middle", "streamed, before the first token", "not streamed"] as const;
export type Moment = (typeof moments)[number];

/** A gateway, a client's token for it, and the events of its model. */
export interface Left {
  readonly baseUrl: string;
  readonly token: string;
  readonly model: ModelWatch;
}

const patienceMs = 10_000;

/** Leaves a completion; returns the milliseconds until the model's call was closed, infinity if it never was. */
async function leaveCompletion({ baseUrl, token, model }: Left, protocol: Protocol, moment: Moment): Promise<number> {
  const isMiddle = moment === "streamed, in the middle";
  const said = `${isMiddle ? "say 1000" : "hold"} ${randomUUID()}`;
  const body = { model: "gpt-4o-mini", stream: moment !== "not streamed", messages: [{ role: "user", content: said }] };
  const open = openers[protocol](baseUrl, { path: "/v1/chat/completions", body, token });
  await (isMiddle ? open.firstBytes : model.asked(said));
  const closed = model.closed(said);
  const leftAt = performance.now();
  open.leave();
  const closedAt = await Promise.race([closed, delay(patienceMs, Number.POSITIVE_INFINITY, { ref: false })]);
  return closedAt - leftAt;
}

/**
 * Leaves completions at one moment over one protocol, several at a time; returns the milliseconds until each model call
 * was closed, sorted.
 */
export async function leaveCompletions(
  left: Left,
  options: { protocol: Protocol; moment: Moment; count: number; atOnce: number },
): Promise<number[]> {
  const { protocol, moment, count, atOnce } = options;
  const took: number[] = [];
  let begun = 0;
  const worker = async () => {
    while (begun < count) {
      begun += 1;
      took.push(await leaveCompletion(left, protocol, moment));
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return took.sort((a, b) => a - b);
}

/** The fate of stored turns whose clients left. */
export interface LeftTurns {
  readonly left: number;
  /** Turns whose answer is not stored in full. */
  readonly unanswered: number;
  /** Model calls that were closed before their end. */
  readonly closed: number;
}

const turnWords = 40;

/**
 * Sends messages to conversations and disconnects during the answer, or, if nothing is streamed, while the client
 * waits; then waits for the stored answers.
 */
export async function leaveTurns(
  left: Left,
  options: { count: number; streamed: boolean; protocol: Protocol },
): Promise<LeftTurns> {
  const { baseUrl, token, model } = left;
  const { count, streamed, protocol } = options;
  const api = restApi(baseUrl);
  const whole = words(turnWords).join(" ");
  let closed = 0;
  const leaveOne = async (): Promise<boolean> => {
    const { conversationId } = await api.createConversation(token, "hello");
    const said = `say ${turnWords} ${randomUUID()}`;
    void model.closed(said).then(() => {
      closed += 1;
    });
    const path = `/v1/conversations/${conversationId}/messages`;
    const open = openers[protocol](baseUrl, { path, body: { message: said, stream: streamed }, token });
    await model.asked(said);
    if (streamed) await open.firstBytes;
    open.leave();
    for (const until = Date.now() + 30_000; Date.now() < until; await delay(100)) {
      const { contents } = await api.getConversation(token, conversationId);
      if (contents.length === 4) return contents[3] === whole;
    }
    return false;
  };
  const answered = await Promise.all(Array.from({ length: count }, leaveOne));
  return { left: count, unanswered: answered.filter((isWhole) => !isWhole).length, closed };
}

/** Registers an account and logs it in. */
export async function logIn(baseUrl: string): Promise<string> {
  const api = restApi(baseUrl);
  const email = `leaver-${randomUUID()}@example.com`;
  await api.register(email, "correct-horse-battery");
  return (await api.login(email, "correct-horse-battery")).accessToken;
}
