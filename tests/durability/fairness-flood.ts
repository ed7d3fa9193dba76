/** The thread of a flood: keeps calls in flight until its parent sends a message, then answers with their statuses. */
import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { parentPort, workerData } from "node:worker_threads";
import { ask, brokenOff, type FloodData, type Surface, surfaces } from "./fairness-calls.ts";

const { baseUrl, token, kind, count } = workerData as FloodData;
const ended = new AbortController();
const statuses = new Map<number, number>();

async function callAgainAndAgain(index: number): Promise<void> {
  const surface = surfaces[index % surfaces.length] as Surface;
  while (!ended.signal.aborted) {
    const said = `${kind} ${randomUUID()}`;
    const { status, retryAfterMs } = await ask(baseUrl, token, surface, said, ended.signal).catch(() => brokenOff);
    if (!ended.signal.aborted) statuses.set(status, (statuses.get(status) ?? 0) + 1);
    // As clients repeat: not earlier than told, and not all at once.
    const pauseMs = Math.max(500, retryAfterMs) * (1 + Math.random());
    await delay(pauseMs, undefined, { signal: ended.signal }).catch(() => {});
  }
}

const callers = Array.from({ length: count }, (_, index) => callAgainAndAgain(index));
parentPort?.once("message", async () => {
  ended.abort();
  await Promise.all(callers);
  parentPort?.postMessage(statuses);
});
