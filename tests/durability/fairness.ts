import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { type ModelReply, type ModelServer, startModelServer } from "@turnwright/testing/model-server";
import type { System } from "../e2e/system.ts";
import { logIn } from "./disconnects.ts";

/** The kinds of calls with which one user floods the system. */
export const floods = ["hung", "huge"] as const;
export type Flood = (typeof floods)[number];

/** The ways in which the other user asks. */
export const surfaces = ["completion", "stream", "stored run"] as const;
export type Surface = (typeof surfaces)[number];

/** The model's time for a quiet answer, in milliseconds. */
const answerMs = 100;
/** Pieces of a huge answer, and characters in each. */
const hugePieces = 256;
const pieceLength = 4_096;

async function answer(said: string, isStreamed: boolean, reply: ModelReply): Promise<void> {
  if (said.startsWith("hung")) return;
  if (said.startsWith("huge")) {
    const piece = "x".repeat(pieceLength);
    if (!isStreamed) return reply.whole(piece.repeat(hugePieces));
    for (let sent = 0; sent < hugePieces && !reply.isLeft; sent += 1) await reply.send({ content: piece });
    return reply.end();
  }
  await delay(answerMs);
  if (!isStreamed) return reply.whole("a quiet answer");
  for (const word of ["a", " quiet", " answer"]) await reply.send({ content: word });
  reply.end();
}

/** A request of a surface that says this; resolves once the whole answer has arrived. */
async function ask(baseUrl: string, token: string, surface: Surface, said: string, signal?: AbortSignal): Promise<Asked> {
  const messages = [{ role: "user", content: said }];
  const [path, body] =
    surface === "stored run"
      ? ["/v1/conversations", { message: said }]
      : ["/v1/chat/completions", { model: "fair", messages, stream: surface === "stream" }];
  const response = await fetch(baseUrl + path, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  for await (const _piece of response.body ?? []);
  return { status: response.status, retryAfterMs: Number(response.headers.get("retry-after") ?? 0) * 1_000 };
}

/** How a request ended; status 0: it broke off. */
interface Asked {
  readonly status: number;
  readonly retryAfterMs: number;
}

const brokenOff: Asked = { status: 0, retryAfterMs: 0 };

/** Latencies of the quiet user on one surface. */
export interface Quiet {
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
  /** Requests that did not succeed. */
  readonly failed: number;
}

/** A system with a model, a user who floods it, and another one who does not. */
export class FairnessStage {
  readonly #system: System;
  readonly #model: ModelServer;
  readonly #quiet: string;
  readonly #flooding: string;

  private constructor(system: System, model: ModelServer, tokens: readonly [string, string]) {
    this.#system = system;
    this.#model = model;
    [this.#quiet, this.#flooding] = tokens;
  }

  /** `start` starts the system with these variables. */
  static async open(start: (env: Record<string, string>) => Promise<System>): Promise<FairnessStage> {
    const model = await startModelServer("fair", (asked, reply) => {
      const said = asked.messages.findLast(({ role }) => role === "user")?.content ?? "";
      return answer(said, asked.stream === true, reply);
    });
    const env = { LLM_BASE_URL: model.url, LLM_API_KEY: "x", LLM_DEFAULT_MODEL: "fair", RATE_LIMIT_ENABLED: "false" };
    const system = await start(env);
    const { baseUrl } = system;
    return new FairnessStage(system, model, [await logIn(baseUrl), await logIn(baseUrl)]);
  }

  /** Asks `count` times as the quiet user, `atOnce` at a time. */
  async measure(surface: Surface, count: number, atOnce = 4): Promise<Quiet> {
    const took: number[] = [];
    let begun = 0;
    let failed = 0;
    const worker = async () => {
      while (begun < count) {
        begun += 1;
        const startedAt = performance.now();
        const said = `quiet ${randomUUID()}`;
        const { status } = await ask(this.#system.baseUrl, this.#quiet, surface, said).catch(() => brokenOff);
        if (status !== 200 && status !== 201) failed += 1;
        took.push(performance.now() - startedAt);
      }
    };
    await Promise.all(Array.from({ length: atOnce }, worker));
    took.sort((a, b) => a - b);
    const at = (share: number) => took[Math.min(took.length - 1, Math.floor(took.length * share))] ?? Number.POSITIVE_INFINITY;
    return { p50: at(0.5), p99: at(0.99), failed };
  }

  /**
   * Keeps `count` calls of the other user in flight, over all surfaces, until the returned function is called. It
   * resolves with the statuses that they got.
   */
  flood(kind: Flood, count: number): () => Promise<Map<number, number>> {
    const ended = new AbortController();
    const statuses = new Map<number, number>();
    const caller = async (index: number) => {
      const surface = surfaces[index % surfaces.length] as Surface;
      while (!ended.signal.aborted) {
        const said = `${kind} ${randomUUID()}`;
        const asked = await ask(this.#system.baseUrl, this.#flooding, surface, said, ended.signal).catch(() => brokenOff);
        const { status, retryAfterMs } = asked;
        if (!ended.signal.aborted) statuses.set(status, (statuses.get(status) ?? 0) + 1);
        // As clients repeat: not earlier than told, and not all at once.
        const pauseMs = Math.max(500, retryAfterMs) * (1 + Math.random());
        await delay(pauseMs, undefined, { signal: ended.signal }).catch(() => {});
      }
    };
    const callers = Array.from({ length: count }, (_, index) => caller(index));
    return async () => {
      ended.abort();
      await Promise.all(callers);
      return statuses;
    };
  }

  /** The orchestrator's report of its queue, as /ready shows it. */
  async readiness(): Promise<unknown> {
    return await (await fetch(`${this.#system.baseUrl}/ready`)).json();
  }

  async close(): Promise<void> {
    await this.#system.stop();
    await this.#model.close();
  }
}
