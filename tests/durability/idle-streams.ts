import { type ChildProcess, fork } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { create, toBinary } from "@bufbuild/protobuf";
import { StreamRunEventsRequestSchema } from "@turnwright/contract/agent/v1/run_service";
import { restApi } from "../e2e/api.ts";
import type { ProcessMemory } from "../mesh/part-process.ts";
import type { IdleClients, IdleRequest, OpenStreams } from "./idle-clients.ts";
import type { ReplicatedMesh } from "./replicated-mesh.ts";

/** The kinds of streams in which nothing happens. */
export const idleKinds = [
  "run events",
  "run events, Connect",
  "run events, gRPC",
  "user events",
  "turns",
  "completions",
] as const;
export type IdleKind = (typeof idleKinds)[number];

/** Cost and outcome of idle streams. */
export interface IdleFigures {
  readonly kind: IdleKind;
  readonly streams: number;
  /** Streams that ended, or were not opened. */
  readonly dropped: number;
  readonly refusal: string | undefined;
  /** Bytes by which each process has grown: memory in use, and memory counted by the kernel. */
  readonly grown: ReadonlyMap<string, ProcessMemory>;
  /** Share of a processor that each process used while nothing happened. */
  readonly processors: ReadonlyMap<string, number>;
  /** 99th percentile of an unrelated request, in milliseconds, and how many were sent. */
  readonly p99Ms: number;
  readonly asked: number;
  /** Milliseconds from a cancellation until the streams of the cancelled run ended; unset for kinds without one. */
  readonly toldAfterMs: number | undefined;
}

/** Runs of one conversation: all but the first wait for the first one. */
const runsPerConversation = 100;
/** The most runs that are watched; more streams share them. */
const maxRuns = 1_000;
/** Long enough for a heartbeat on every stream, in milliseconds. */
const heartbeatMs = 20_000;

interface Account {
  readonly baseUrl: string;
  readonly token: string;
}

async function ask<T>({ baseUrl, token }: Account, method: string, path: string, body?: object): Promise<T> {
  const response = await fetch(baseUrl + path, {
    method,
    headers: { authorization: `Bearer ${token}`, ...(body && { "content-type": "application/json" }) },
    body: body && JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return ((await response.json()) as { data: T }).data;
}

/** Background runs that get no answer: one at the model in each conversation, the others behind it. */
async function startSilentRuns(account: Account, count: number): Promise<string[]> {
  const ids: string[] = [];
  const conversations = Math.ceil(count / runsPerConversation);
  const startOne = async (path: string) =>
    (await ask<{ run: { id: string; conversation_id: string } }>(account, "POST", path, { message: `hold ${randomUUID()}` })).run;
  await Promise.all(
    Array.from({ length: Math.min(conversations, 8) }, async (_, worker) => {
      for (let at = worker; at < conversations; at += 8) {
        const first = await startOne("/v1/runs");
        ids.push(first.id);
        const more = Math.min(runsPerConversation, count - at * runsPerConversation) - 1;
        for (let index = 0; index < more; index += 1) {
          ids.push((await startOne(`/v1/conversations/${first.conversation_id}/runs`)).id);
        }
      }
    }),
  );
  return ids;
}

function requestFor(kind: IdleKind, runId: string | undefined, paddingBytes: number): IdleRequest {
  const json = (value: object) => Buffer.from(JSON.stringify(value) + " ".repeat(paddingBytes)).toString("base64");
  const held = `hold ${randomUUID()}`;
  switch (kind) {
    case "run events":
      return { method: "GET", path: `/v1/runs/${runId}/events` };
    case "run events, Connect":
    case "run events, gRPC": {
      const message = toBinary(StreamRunEventsRequestSchema, create(StreamRunEventsRequestSchema, { runId }));
      const head = Buffer.alloc(5);
      head.writeUInt32BE(message.length, 1);
      return {
        method: "POST",
        path: "/turnwright.agent.v1.RunService/StreamRunEvents",
        contentType: kind === "run events, gRPC" ? "application/grpc" : "application/connect+proto",
        body: Buffer.concat([head, message]).toString("base64"),
      };
    }
    case "user events":
      return { method: "GET", path: "/v1/events" };
    case "turns": {
      const body = json({ message: held, stream: true });
      return { method: "POST", path: "/v1/conversations", contentType: "application/json", body };
    }
    case "completions": {
      const body = json({ model: "gpt-4o-mini", stream: true, messages: [{ role: "user", content: held }] });
      return { method: "POST", path: "/v1/chat/completions", contentType: "application/json", body };
    }
    default:
      throw kind satisfies never;
  }
}

/** Latencies of an unrelated request, one every `pauseMs` until the signal fires. */
async function latencies(account: Account, pauseMs: number, signal: AbortSignal): Promise<number[]> {
  const all: number[] = [];
  while (!signal.aborted) {
    const before = performance.now();
    await ask(account, "GET", "/v1/conversations?limit=1");
    all.push(performance.now() - before);
    await delay(pauseMs);
  }
  return all.sort((a, b) => a - b);
}

async function stateOf(clients: ChildProcess, message: OpenStreams | "report"): Promise<IdleClients> {
  clients.send(message);
  const [state] = (await once(clients, "message")) as [IdleClients];
  return state;
}

/** The streams to hold, and for how long. */
export interface IdleOptions {
  readonly kind: IdleKind;
  readonly streams: number;
  /** Streams that are open before the first measurement: they load code and grow pools. None unless given. */
  readonly earlier?: number;
  /** Blanks behind each JSON body, in bytes: what a stream was asked for with should not stay. None unless given. */
  readonly paddingBytes?: number;
  readonly holdMs: number;
  readonly settleMs: number;
}

/** Opens idle streams of a kind at a mesh, holds them, and measures their cost. */
export async function holdIdleStreams(mesh: ReplicatedMesh, options: IdleOptions): Promise<IdleFigures> {
  const { kind, streams, earlier = 0, paddingBytes = 0, holdMs, settleMs } = options;
  const baseUrl = mesh.gateways[0] ?? "";
  const api = restApi(baseUrl);
  const email = `idle-${randomUUID()}@example.com`;
  await api.register(email, "correct-horse-battery");
  const { accessToken: token } = await api.login(email, "correct-horse-battery");
  const account = { baseUrl, token };
  const measured = mesh.replicas.filter(({ name }) => /^(gateway|conversation|agent-orchestrator)/.test(name));
  const memory = async () => new Map(await Promise.all(measured.map(async (one) => [one.name, await one.memory()] as const)));
  const isOfRuns = kind.startsWith("run events");
  const runs = isOfRuns ? await startSilentRuns(account, Math.min(streams, maxRuns)) : [];
  const clients = fork(join(import.meta.dirname, "idle-clients.ts"));
  const open = async (count: number) => {
    const requests = Array.from({ length: count }, (_, index) => requestFor(kind, runs[index % runs.length], paddingBytes));
    const isGrpc = kind === "run events, gRPC";
    await stateOf(clients, { port: Number(new URL(baseUrl).port), token, isGrpc, isSilent: kind === "completions", requests });
  };
  try {
    if (earlier > 0) await open(earlier);
    await delay(settleMs);
    const before = await memory();
    await open(streams);
    await delay(Math.max(settleMs, kind === "completions" ? heartbeatMs : 0));
    const usedBefore = measured.map((one) => one.processorMs());
    const startedAt = performance.now();
    const ending = new AbortController();
    const timer = setTimeout(() => ending.abort(), holdMs);
    const sorted = await latencies(account, 20, ending.signal);
    clearTimeout(timer);
    const passedMs = performance.now() - startedAt;
    const processors = measured.map(
      (one, index) => [one.name, (one.processorMs() - (usedBefore[index] ?? 0)) / passedMs] as const,
    );
    const during = await memory();
    const held = await stateOf(clients, "report");
    let toldAfterMs: number | undefined;
    if (isOfRuns) {
      const cancelledAt = performance.now();
      await ask(account, "POST", `/v1/runs/${runs.at(-1)}/cancel`);
      // A dropped stream would never be told.
      while ((await stateOf(clients, "report")).ended === held.ended && performance.now() - cancelledAt < 10_000) await delay(10);
      toldAfterMs = performance.now() - cancelledAt;
    }
    return {
      kind,
      streams,
      dropped: held.ended + (earlier + streams - held.open) + (held.refusal === undefined ? 0 : 1),
      refusal: held.refusal,
      grown: new Map(
        [...during].map(([name, after]) => {
          const earlier = before.get(name) ?? { held: 0, resident: 0 };
          return [name, { held: after.held - earlier.held, resident: after.resident - earlier.resident }];
        }),
      ),
      processors: new Map(processors),
      p99Ms: sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN,
      asked: sorted.length,
      toldAfterMs,
    };
  } finally {
    clients.kill();
  }
}
