import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { WatchedText } from "../chaos/watched-text.ts";
import { restApi } from "../e2e/api.ts";
import type { ProcessMemory } from "../mesh/part-process.ts";
import { type PourGate, pouredText } from "./paced-model.ts";
import type { ReplicatedMesh } from "./replicated-mesh.ts";
import { openReader, type ReceivedEvent, type StreamRequest } from "./stalling-reader.ts";
import { followStalls } from "./stalls.ts";

/** The streams whose readers stall: a completion each, a stored turn each, or one run's events for all. */
export type StalledSurface = "completions" | "turns" | "run events";

/** The cost and the outcome of stalled readers. */
export interface SlowReaderFigures {
  readonly readers: number;
  /** KiB per stalled reader, by process: memory in use, and memory counted by the kernel. */
  readonly kib: ReadonlyMap<string, { held: number; resident: number }>;
  /** Milliseconds from the last byte taken to the cut, sorted. */
  readonly cutAfterMs: readonly number[];
  /** Readers still connected long after the limit. */
  readonly uncut: number;
  /** Bytes that the kernel buffered per reader, minimum and maximum. */
  readonly bySystem: readonly [number, number];
  /**
   * Readers whose assembled text differs from the stored one; for completions, readers that were not told of the cut.
   */
  readonly wrongTexts: number;
  /** Whether concurrent readers received everything in one piece. */
  readonly isNeighbourWell: boolean;
}

interface Account {
  readonly baseUrl: string;
  readonly token: string;
}

/** The prompt for the model, and the request that streams its reply. */
interface Poured {
  readonly text: string;
  open(name: string): StreamRequest;
}

async function post<T>({ baseUrl, token }: Account, path: string, body: object): Promise<T> {
  const response = await fetch(baseUrl + path, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return ((await response.json()) as { data: T }).data;
}

/** Pieces of one answer: a conversation stores 2 MiB of it as JSON. */
const storedPieces = 300;

/** Has the model pour the pieces for each reader, or once for all of them. */
async function pour(account: Account, surface: StalledSurface, pieces: number): Promise<Poured> {
  const text = pouredText(pieces);
  const said = surface === "completions" ? `pour ${pieces}` : `pour ${pieces} by ${storedPieces}`;
  switch (surface) {
    case "completions": {
      const body = (name: string) => ({
        model: "gpt-4o-mini",
        stream: true,
        tool_choice: "none",
        messages: [{ role: "user", content: `${said} ${name}` }],
      });
      return { text, open: (name) => ({ method: "POST", path: "/v1/chat/completions", body: body(name) }) };
    }
    case "turns":
      return {
        text,
        open: (name) => ({ method: "POST", path: "/v1/conversations", body: { message: `${said} ${name}`, stream: true } }),
      };
    case "run events": {
      const { run } = await post<{ run: { id: string } }>(account, "/v1/runs", { message: said });
      return { text, open: () => ({ method: "GET", path: `/v1/runs/${run.id}/events` }) };
    }
    default:
      throw surface satisfies never;
  }
}

/** A client's copy of a stream. */
class Received {
  readonly #watched = new WatchedText();
  runId = "";
  isEnded = false;

  take(events: readonly ReceivedEvent[]): void {
    for (const { id, data } of events) {
      if (data === "[DONE]") continue;
      const event = JSON.parse(data) as { type: string; delta?: string; run_id?: string; since?: string };
      this.runId ||= event.run_id ?? "";
      this.#watched.take(id === "" ? event : { ...event, event_id: id });
      this.isEnded ||= event.type === "finish";
    }
  }

  get text(): string {
    return this.#watched.text;
  }

  get lastEventId(): string {
    return this.#watched.lastEventId;
  }
}

const pauseMs = 2_000;
/** Milliseconds between the ends of turns: the journal stores a megabyte for each. */
const endMs = 250;

/**
 * Reads a stream to its end and, for a run's stream, resumes it where it breaks; turns that all end at once keep the
 * journal busy for a while.
 */
async function readAll(account: Account, received: Received): Promise<void> {
  const path = `/v1/runs/${received.runId}/events`;
  for (let tries = 0; !received.isEnded && tries < 30; tries += 1) {
    try {
      const reader = await openReader(account.baseUrl, account.token, { method: "GET", path, lastEventId: received.lastEventId });
      received.take((await reader.rest()).events);
    } catch (error) {
      if (!/: 50[34] /.test(String(error))) throw error;
      await delay(pauseMs);
    }
  }
}

/** Applies `work` to each item of a list, `atOnce` at a time. */
async function forEachOf<T, R>(list: readonly T[], atOnce: number, work: (item: T, index: number) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  const worker = async () => {
    for (let index = next++; index < list.length; index = next++) results[index] = await work(list[index] as T, index);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return results;
}

async function memoryOf(mesh: ReplicatedMesh): Promise<Map<string, ProcessMemory>> {
  const measured = mesh.replicas.filter(({ name }) => /^(gateway|agent-orchestrator)/.test(name));
  return new Map(await Promise.all(measured.map(async (replica) => [replica.name, await replica.memory()] as const)));
}

/**
 * Has many readers of one kind read a single event and no more, and follows them until they are cut. Measures the
 * memory of the processes against that after as many clients had read to the end. Then each reader resumes its stream.
 */
export async function stallReaders(
  mesh: ReplicatedMesh,
  options: {
    surface: StalledSurface;
    readers: number;
    limitMs: number;
    pieces: number;
    settleMs: number;
    /** Rounds in which as many clients read to the end first, so that memory can be compared; default 2. */
    warmUps?: number;
    /** After the first piece of a poured reply. */
    gate: PourGate;
    /** After its last piece. */
    endGate: PourGate;
  },
): Promise<SlowReaderFigures> {
  const { surface, readers: count, limitMs, pieces, settleMs, warmUps = 2, gate, endGate } = options;
  const baseUrl = mesh.gateways[0] ?? "";
  const api = restApi(baseUrl);
  const email = `slow-${randomUUID()}@example.com`;
  await api.register(email, "correct-horse-battery");
  const { accessToken: token } = await api.login(email, "correct-horse-battery");
  const account = { baseUrl, token };
  const everyone = Array.from({ length: count }, (_, index) => index);

  // Memory that remains allocated, such as pages that a process keeps, must be in both measurements.
  const warmUp = warmUps > 0 ? await pour(account, surface, pieces) : undefined;
  // Turns are measured while in progress, so that the cost of a turn itself is in both measurements.
  const isHeld = surface === "turns";
  let before = new Map<string, ProcessMemory>();
  for (let round = 1; warmUp !== undefined && round <= warmUps; round += 1) {
    if (isHeld) endGate.close();
    const warmedUp = forEachOf(everyone, count, async () => {
      await (await openReader(baseUrl, token, warmUp.open(randomUUID()))).rest();
    });
    while (isHeld && endGate.waiting < count) await delay(100);
    if (!isHeld) await warmedUp;
    await delay(settleMs);
    before = await memoryOf(mesh);
    await endGate.open(endMs);
    await warmedUp;
  }

  // All readers connect before there is much to read, so that they stall at about the same time.
  gate.close();
  if (isHeld) endGate.close();
  const poured = await pour(account, surface, pieces);
  const neighbour = new Received();
  const neighbourReads = openReader(baseUrl, token, poured.open("neighbour")).then(async (reader) => {
    const { events, isBroken } = await reader.rest();
    neighbour.take(events);
    return !isBroken && events.at(-1)?.data === "[DONE]";
  });
  const readers = await forEachOf(everyone, 50, () => openReader(baseUrl, token, poured.open(randomUUID())));
  await gate.open();
  let during = before;
  const stalls = await followStalls(
    Number(new URL(baseUrl).port),
    readers.map(({ port }) => port),
    {
      settleMs,
      untilMs: limitMs + Math.max(15_000, settleMs),
      async onStalled() {
        during = await memoryOf(mesh);
      },
    },
  );
  await endGate.open(endMs);
  const isNeighbourWell = (await neighbourReads) && neighbour.text === poured.text;
  const uncut = stalls.filter(({ cutAfterMs }) => cutAfterMs === undefined).length;
  const wrong = await forEachOf(uncut > 0 ? [] : readers, 10, async (reader) => {
    const { events, isBroken } = await reader.rest();
    if (surface === "completions") return !isBroken || events.at(-1)?.data === "[DONE]";
    const received = new Received();
    received.take(events);
    await readAll(account, received);
    return !isBroken || received.text !== poured.text;
  });
  const held = stalls.map(({ heldBySystem }) => heldBySystem);
  const kib = (after = 0, earlier = 0) => Math.round((after - earlier) / count / 1_024);
  return {
    readers: count,
    kib: new Map(
      [...during].map(([name, memory]) => {
        const earlier = before.get(name);
        return [name, { held: kib(memory.held, earlier?.held), resident: kib(memory.resident, earlier?.resident) }];
      }),
    ),
    cutAfterMs: stalls.flatMap(({ cutAfterMs }) => cutAfterMs ?? []).sort((a, b) => a - b),
    uncut,
    bySystem: [Math.min(...held), Math.max(...held)],
    wrongTexts: wrong.filter(Boolean).length,
    isNeighbourWell,
  };
}
