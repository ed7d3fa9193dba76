import { type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import type { Message } from "@turnwright/contract/conversation/v1/conversation";
import type { LoggedEvent, RunInfo } from "@turnwright/contract/conversation/v1/run";
import { agentFields, framesOf, type RunFrame, restOf, textFrames, unitsOf } from "./frame.ts";
import { formatPosition, type Position } from "./position.ts";
import { orderedTexts, piecesOf } from "./stream-order.ts";

/** A stored time as frames have it. */
export function frameTime(time: Timestamp | undefined): number | undefined {
  return time && timestampMs(time);
}

interface Call {
  readonly id: string;
  readonly name: string;
  readonly arguments: string;
}

function callFrame(type: string, { id, name, arguments: args }: Call): RunFrame {
  return { type, toolCall: { id, type: "function", function: { name, arguments: args } } };
}

/**
 * The frames of a stored message: the same and in the same order as when it was live; its text is in larger pieces
 * unless the entry's payload says how it was streamed.
 */
function messageFrames(message: Message, { order, pieces }: Payload): RunFrame[] {
  if (message.role === "tool") {
    return framesOf({ type: "tool_result", callId: message.toolCallId, name: message.name, result: message.content });
  }
  return [
    ...piecesOf(orderedTexts(message, order), pieces).flatMap(({ type, delta }) => textFrames(type, delta)),
    ...message.toolCalls.map(({ id, function: call }) =>
      callFrame("tool_call", { id, name: call?.name ?? "", arguments: call?.arguments ?? "" }),
    ),
  ];
}

/** The payload of an entry that says that an attempt of a model call failed and another one follows. */
export interface AttemptPayload {
  readonly provider?: string;
  readonly model?: string;
  readonly error?: string;
  /** Name of the reason, as `ERROR_REASON_MODEL_FAILED`. */
  readonly reason?: string;
  /** Watchers have got text of the attempt, which is void. */
  readonly is_shown?: boolean;
}

/** The frames of a failed attempt in entry `seq`: those of its messages, `valid` units, stay valid. */
export function attemptFrames(payload: AttemptPayload, seq: number, valid: number): RunFrame[] {
  const { provider, model, error, reason, is_shown: isShown } = payload;
  const failed = { type: "model_attempt", provider, model, error, errorReason: reason?.replace(/^ERROR_REASON_/, "") };
  return isShown === true ? [{ type: "reset", since: formatPosition({ seq: seq - 1, units: valid }) }, failed] : [failed];
}

interface Payload extends AttemptPayload {
  readonly finish_reason?: string;
  readonly in_ms?: number;
  readonly calls?: Call[];
  readonly order?: unknown;
  readonly pieces?: unknown;
}

/** The frame that tells of a run's beginning, or of its wait for it. */
export function startFrame(type: "queued" | "started", run: RunInfo): RunFrame {
  const { id: runId, conversationId, model: runModel } = run;
  return { type, runId, conversationId, runModel, ...agentFields(run.agentType || run.agent) };
}

/** The frames of a log entry itself, without those of its messages, which take `units`. */
function entryFrames(event: LoggedEvent, payload: Payload, run: RunInfo, units: number): RunFrame[] {
  switch (event.type) {
    case "started":
      return [startFrame("started", run)];
    case "model_attempt":
      return attemptFrames(payload, event.seq, units);
    case "recovered":
      return [{ type: "reset", since: String(event.seq - 1) }];
    case "parked":
      return (payload.calls ?? []).map((call) => callFrame("pending_approval", call));
    case "needs_review":
      return (payload.calls ?? []).map((call) => callFrame("needs_review", call));
    case "completed":
      return [{ type: "finish", delta: payload.finish_reason, usage: run.usage, message: event.messages.at(-1) }];
    case "failed":
      return [{ type: "failed", error: payload.error ?? run.error, errorReason: payload.reason?.replace(/^ERROR_REASON_/, "") }];
    case "retrying":
      return [{ type: "retrying", error: payload.error, inMs: payload.in_ms }];
    case "resumed":
    case "cancelled":
      return [{ type: event.type }];
    default:
      // `tool_intent` and `retried` have no frame of their own, only their messages.
      return [];
  }
}

/**
 * The frames of an entry for a reader at position `at`, which is right before the entry or inside it: without the
 * frames that the reader has seen live.
 */
export function storedFrames(event: LoggedEvent, run: RunInfo, at: Position): RunFrame[] {
  const frames: RunFrame[] = [];
  let units = 0;
  const payload = (event.payload === "" ? {} : JSON.parse(event.payload)) as Payload;
  for (const message of event.messages) {
    const atMs = frameTime(message.createdAt);
    for (const frame of messageFrames(message, payload)) {
      const rest = restOf(frame, at.units - units);
      units += unitsOf(frame);
      if (rest !== undefined) frames.push({ ...rest, atMs, eventId: formatPosition({ seq: event.seq - 1, units }) });
    }
  }
  const entries = entryFrames(event, payload, run, units);
  // Live watchers of a failed step may have seen more than was stored.
  units = Math.max(units, at.units);
  const atMs = frameTime(event.createdAt);
  for (const [index, frame] of entries.entries()) {
    units += 1;
    const isLast = index === entries.length - 1;
    const eventId = formatPosition(isLast ? { seq: event.seq, units: 0 } : { seq: event.seq - 1, units });
    frames.push({ ...frame, atMs, eventId });
  }
  return frames;
}
