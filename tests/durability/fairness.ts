import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { type ModelReply, type ModelServer, startModelServer } from "@turnwright/testing/model-server";
import type { System } from "../e2e/system.ts";
import { logIn } from "./disconnects.ts";
import { ask, brokenOff, type Flood, type FloodData, type Surface } from "./fairness-calls.ts";

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
    const data: FloodData = { baseUrl: this.#system.baseUrl, token: this.#flooding, kind, count };
    // A thread of its own, so that its work does not count as the quiet user's wait.
    const worker = new Worker(new URL("./fairness-flood.ts", import.meta.url), { workerData: data });
    const statuses = once(worker, "message") as Promise<[Map<number, number>]>;
    return async () => {
      worker.postMessage("end");
      const [got] = await statuses;
      await worker.terminate();
      return got;
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
