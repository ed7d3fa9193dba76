import type { StreamRunEventsResponse, ToolCall } from "../../api/types.ts";

/** An event of a run, as its stream tells it. */
export type RunEvent = StreamRunEventsResponse;

/** A call of a tool in an answer. */
export interface CallPart {
  readonly kind: "call";
  readonly id: string;
  readonly name: string;
  /** JSON text, as the model wrote it. */
  readonly arguments: string;
  /** JSON text or an error message; undefined: none yet. */
  readonly result: string | undefined;
  readonly state: "running" | "waiting" | "needs_review" | "done";
  /** Milliseconds from the call to its result; undefined: unknown. */
  readonly ms: number | undefined;
}

/** A piece of an answer: text, or a call. */
export type Part = { readonly kind: "text"; readonly text: string } | CallPart;

/** An answer as its events tell it so far. */
export interface LiveAnswer {
  readonly runId: string;
  readonly status: "queued" | "running" | "waiting" | "needs_review" | "completed" | "failed" | "cancelled";
  readonly parts: readonly Part[];
  readonly agent: string;
  readonly model: string;
  readonly error: string;
  readonly errorReason: string;
  /** Milliseconds until the next attempt; 0: none is planned. */
  readonly retriesInMs: number;
  readonly tokens: number;
  readonly startedAt: string | null;
  readonly endedAt: string | null;
}

/** A position of a run's log: `2.66` is before `2.100`. */
export function isAfter(id: string, since: string): boolean {
  const [a, b] = [id, since].map((text) => text.split(".").map(Number));
  const [major = 0, minor = 0] = a ?? [];
  const [sinceMajor = 0, sinceMinor = 0] = b ?? [];
  return major === sinceMajor ? minor > sinceMinor : major > sinceMajor;
}

/** The events of a run that are valid, in order: `reset` takes back those that a repeated step will tell anew. */
export function addEvent(events: readonly RunEvent[], event: RunEvent): readonly RunEvent[] {
  if (event.type !== "reset") return [...events, event];
  return events.filter(({ event_id }) => !isAfter(event_id, event.since));
}

/** An answer before its first event. */
export function startedAnswer(runId: string): LiveAnswer {
  return {
    runId,
    status: "queued",
    parts: [],
    agent: "",
    model: "",
    error: "",
    errorReason: "",
    retriesInMs: 0,
    tokens: 0,
    startedAt: null,
    endedAt: null,
  };
}

const ends: Readonly<Record<string, LiveAnswer["status"]>> = {
  finish: "completed",
  failed: "failed",
  cancelled: "cancelled",
  needs_review: "needs_review",
};

function withText(parts: readonly Part[], text: string): Part[] {
  const last = parts.at(-1);
  if (last?.kind === "text") return [...parts.slice(0, -1), { kind: "text", text: last.text + text }];
  return [...parts, { kind: "text", text }];
}

function withCall(parts: readonly Part[], call: ToolCall | null, change: Partial<CallPart>): Part[] {
  if (call === null) return [...parts];
  const known = parts.some((part) => part.kind === "call" && part.id === call.id);
  if (known) return parts.map((part) => (part.kind === "call" && part.id === call.id ? { ...part, ...change } : part));
  const { name = "", arguments: text = "" } = call.function ?? {};
  return [
    ...parts,
    { kind: "call", id: call.id, name, arguments: text, result: undefined, state: "running", ms: undefined, ...change },
  ];
}

/** An answer after one more event. */
export function applyEvent(answer: LiveAnswer, event: RunEvent): LiveAnswer {
  const next: LiveAnswer = { ...answer, retriesInMs: event.type === "retrying" ? event.in_ms : 0 };
  switch (event.type) {
    case "started":
      return { ...next, status: "running", agent: event.agent_type, model: event.model, startedAt: event.at };
    case "content":
      return { ...next, status: "running", parts: withText(answer.parts, event.delta) };
    case "tool_call":
      return { ...next, status: "running", parts: withCall(answer.parts, event.tool_call, {}) };
    case "tool_result":
      return { ...next, parts: withCall(answer.parts, event.tool_call, { result: event.result, state: "done" }) };
    case "pending_approval":
      return { ...next, status: "waiting", parts: withCall(answer.parts, event.tool_call, { state: "waiting" }) };
    case "resumed":
      return {
        ...next,
        status: "running",
        parts: answer.parts.map((part) => (isHeld(part) ? { ...part, state: "running" } : part)),
      };
    case "retrying":
      return { ...next, error: event.error, errorReason: event.error_reason };
    case "needs_review":
      return { ...next, status: "needs_review", parts: withCall(answer.parts, event.tool_call, { state: "needs_review" }) };
    case "finish":
    case "failed":
    case "cancelled":
      return {
        ...next,
        status: ends[event.type] ?? "completed",
        error: event.error,
        errorReason: event.error_reason,
        tokens: event.usage?.total_tokens ?? answer.tokens,
        endedAt: event.at,
      };
    default:
      return next;
  }
}

const isHeld = (part: Part): part is CallPart =>
  part.kind === "call" && (part.state === "waiting" || part.state === "needs_review");

/** Whether nothing more happens by itself. */
export function isEnded({ status }: LiveAnswer): boolean {
  return status === "completed" || status === "failed" || status === "cancelled";
}

/** The whole text of an answer, to copy. */
export function textOf(parts: readonly Part[]): string {
  return parts.flatMap((part) => (part.kind === "text" ? [part.text] : [])).join("\n\n");
}
