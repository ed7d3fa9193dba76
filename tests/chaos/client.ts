import { setTimeout as delay } from "node:timers/promises";
import { streamedEvents } from "../e2e/event-stream.ts";
import type { Random } from "./random.ts";
import type { PlannedMessage } from "./scenario.ts";
import { WatchedText } from "./watched-text.ts";

/** A sent message, as its client knows it. */
export interface SentMessage extends PlannedMessage {
  /**
   * Its index among the accepted messages of its conversation, if the client waited for each before it sent the next.
   */
  conversationId: string;
  runId: string;
  /** The system has confirmed that it stored the message. */
  isAcknowledged: boolean;
  /** The text of the answer as assembled by the client; undefined: it never saw the end. */
  seen: string | undefined;
  /** Number of broken streams that the client resumed. */
  resumed: number;
  /** The outcome of the run as the client was told. */
  end: string;
}

/** Whether its client gave up before it was told the outcome. */
export function isUntold({ end }: SentMessage): boolean {
  return end.startsWith("never");
}

/** A user of the system that keeps retrying. */
export interface ChaosClient {
  send(message: PlannedMessage): Promise<SentMessage>;
}

const patienceMs = 90_000;
/** Milliseconds between checks whether a message waits behind a call that needs a person. */
const lookMs = 5_000;
const ends: ReadonlySet<string> = new Set(["finish", "failed", "cancelled", "needs_review"]);

/** Statuses to retry: a part of the system is away. */
const passing: ReadonlySet<number> = new Set([408, 425, 429, 502, 503, 504]);

interface Refusal {
  readonly code: string;
  readonly message: string;
}

/**
 * Creates a client with its own account; `token` is its access token. Each message has an idempotency key, so the
 * client may send it again.
 */
export function createClient(options: {
  gateways: readonly string[];
  token: string;
  random: Random;
  /** Whether a call took effect outside, as a person would find out by looking. */
  tookEffect: (callKey: string) => boolean;
  /** Collects responses that no fault excuses. */
  oddAnswers: string[];
}): ChaosClient {
  const { gateways, token, random } = options;
  const conversations = new Map<number, string>();

  /** Retries until a response is final. */
  async function ask(verb: string, path: string, init: { body?: object; key?: string; after?: string }): Promise<Response> {
    const until = Date.now() + patienceMs;
    for (;;) {
      const gateway = random.pick(gateways);
      try {
        const response = await fetch(gateway + path, {
          method: verb,
          signal: AbortSignal.timeout(patienceMs),
          headers: {
            authorization: `Bearer ${token}`,
            ...(init.body === undefined ? {} : { "content-type": "application/json" }),
            ...(init.key === undefined ? {} : { "idempotency-key": init.key }),
            ...(init.after ? { "last-event-id": init.after } : {}),
          },
          body: init.body === undefined ? undefined : JSON.stringify(init.body),
        });
        if (response.status === 500 && Date.now() < until) {
          const body = await response.clone().text();
          // A run that failed has an error of its own; INTERNAL_ERROR is an unexpected failure.
          if (!body.includes("INTERNAL_ERROR")) return response;
          options.oddAnswers.push(`${verb} ${path}, ${response.headers.get("x-request-id")}: ${body}`);
        } else if (!passing.has(response.status) || response.headers.has("idempotent-replayed")) {
          // The failure of a run is the response under its idempotency key from then on.
          return response;
        }
        await response.body?.cancel();
        if (Date.now() > until) throw new Error(`${verb} ${path}: still ${response.status} after ${patienceMs} ms`);
      } catch (error) {
        if (Date.now() > until) throw new Error(`${verb} ${path}: no answer in ${patienceMs} ms`, { cause: error });
      }
      await delay(random.between(50, 300));
    }
  }

  /** Reviews the calls with an unknown outcome, as a person who looks outside would. */
  async function review(conversationId: string): Promise<void> {
    const listed = await ask("GET", `/v1/conversations/${conversationId}/runs?status=needs_review`, {});
    const { data } = (await listed.json()) as { data?: { runs: { id: string; unsettled_calls: { id: string }[] }[] } };
    for (const run of data?.runs ?? []) {
      const calls = run.unsettled_calls.map(({ id }) =>
        options.tookEffect(`${run.id}:${id}`)
          ? { call_id: id, outcome: "completed", output: { seen: true } }
          : { call_id: id, outcome: "not_done" },
      );
      await ask("POST", `/v1/runs/${run.id}/review`, { body: { calls } });
    }
  }

  /** Reviews from time to time while a message is pending: it may be queued behind one that needs a review. */
  function attend(sent: SentMessage): () => void {
    let isLooking = false;
    const look = async () => {
      if (isLooking || sent.conversationId === "") return;
      isLooking = true;
      // A failed review is tried again at the next interval.
      await review(sent.conversationId).catch(() => {});
      isLooking = false;
    };
    const timer = setInterval(look, lookMs);
    return () => clearInterval(timer);
  }

  /** Sends a message after settling reviews that block its conversation. */
  async function post(path: string, init: { body: object; key: string }, conversationId: string): Promise<Response> {
    for (;;) {
      const response = await ask("POST", path, init);
      if (response.status !== 409) return response;
      const copy = response.clone();
      const { error } = (await response.json()) as { error?: Refusal };
      if (error?.code !== "PENDING_REVIEW") return copy;
      await review(conversationId);
    }
  }

  /** Follows a run to its end, over as many connections as needed. */
  async function watch(sent: SentMessage, text: WatchedText): Promise<void> {
    const until = Date.now() + patienceMs;
    while (Date.now() < until) {
      try {
        const response = await ask("GET", `/v1/runs/${sent.runId}/events`, { after: text.lastEventId });
        if (!response.ok) throw new Error(`events of ${sent.runId}: ${response.status} ${await response.text()}`);
        for await (const { data } of streamedEvents(response)) {
          if (data.error !== undefined && data.type === undefined) break;
          text.take(data);
          if (ends.has(data.type)) {
            sent.end = data.type;
            sent.seen = data.type === "finish" ? text.text : undefined;
            return;
          }
        }
      } catch (error) {
        if (error instanceof Error && error.message.startsWith("events of")) throw error;
      }
      sent.resumed += 1;
      await delay(random.between(20, 200));
    }
    sent.end = "never: no stream told";
  }

  async function background(sent: SentMessage, path: string, body: object, key: string): Promise<void> {
    const response = await post(path, { body, key }, sent.conversationId);
    const { data, error } = (await response.json()) as {
      data?: { run: { id: string; conversation_id: string } };
      error?: unknown;
    };
    if (data === undefined) throw new Error(`message ${sent.number}: ${response.status} ${JSON.stringify(error)}`);
    sent.isAcknowledged = true;
    sent.runId = data.run.id;
    sent.conversationId = data.run.conversation_id;
    await watch(sent, new WatchedText());
  }

  async function unary(sent: SentMessage, path: string, body: object, key: string): Promise<void> {
    const response = await post(path, { body, key }, sent.conversationId);
    const { data, error } = (await response.json()) as {
      data?: { conversation_id: string; message: { content: string } | null };
      error?: Refusal;
    };
    if (data === undefined) {
      sent.end = `${response.status} ${error?.code}: ${error?.message}`;
      return;
    }
    sent.isAcknowledged = true;
    sent.conversationId = data.conversation_id;
    sent.seen = data.message?.content;
    sent.end = "finish";
  }

  async function stream(sent: SentMessage, path: string, body: object, key: string): Promise<void> {
    const text = new WatchedText();
    const until = Date.now() + patienceMs;
    while (sent.runId === "" && Date.now() < until) {
      const response = await post(path, { body: { ...body, stream: true }, key }, sent.conversationId);
      if (!response.ok) {
        sent.end = `${response.status} ${await response.text()}`;
        return;
      }
      try {
        for await (const { data } of streamedEvents(response)) {
          if (data.type === undefined) break;
          if (data.run_id !== undefined) {
            sent.isAcknowledged = true;
            sent.runId = data.run_id;
            sent.conversationId = data.conversation_id;
          }
          text.take(data);
          if (ends.has(data.type)) {
            sent.end = data.type;
            sent.seen = data.type === "finish" ? text.text : undefined;
            return;
          }
        }
      } catch {
        // The stream broke; the events received so far count.
      }
      sent.resumed += 1;
    }
    await watch(sent, text);
  }

  const ways = { background, unary, stream };
  return {
    async send(message) {
      const conversationId = conversations.get(message.conversation) ?? "";
      const sent: SentMessage = {
        ...message,
        conversationId,
        runId: "",
        isAcknowledged: false,
        seen: undefined,
        resumed: 0,
        end: "",
      };
      const isNew = conversationId === "";
      const path =
        message.how === "background"
          ? isNew
            ? "/v1/runs"
            : `/v1/conversations/${conversationId}/runs`
          : isNew
            ? "/v1/conversations"
            : `/v1/conversations/${conversationId}/messages`;
      const leave = attend(sent);
      try {
        await ways[message.how](sent, path, { message: message.text }, `chaos-${message.number}`);
      } catch (error) {
        sent.end = `never: ${error instanceof Error ? error.message : error}`;
      } finally {
        leave();
      }
      if (sent.conversationId !== "") conversations.set(message.conversation, sent.conversationId);
      return sent;
    },
  };
}
