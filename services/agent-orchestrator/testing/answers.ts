import { StreamFormat } from "@turnwright/contract/agent/v1/completion_service";
import { reasonOf } from "@turnwright/platform/errors";
import { type AnswerDelta, AnswerReader } from "../src/model/edge/answer-reader.ts";
import { OutputCount } from "../src/model/edge/output-count.ts";
import { StreamTap, type TapOptions } from "../src/model/edge/stream-tap.ts";
import { eventJson } from "./stream.ts";

export const mixed = { format: StreamFormat.UNSPECIFIED, passToolCalls: true };
export const openai = { format: StreamFormat.OPENAI, passToolCalls: true };
export const seed = { format: StreamFormat.SEED, passToolCalls: true };

export const head = { id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: "m" };
export const chunk = (delta: unknown, finish: unknown = null, rest: object = {}) => ({
  ...head,
  choices: [{ index: 0, delta, finish_reason: finish }],
  ...rest,
});
export const frame = (value: unknown) => `data: ${typeof value === "string" ? value : JSON.stringify(value)}\n\n`;
export const stop = chunk({}, "stop");
export const done = "data: [DONE]\n\n";
/** A stream of these events; texts stand as they are. */
export const sse = (...events: unknown[]) => events.map((event) => (typeof event === "string" ? event : frame(event))).join("");

/** The result of reading an answer: what it says, or how it fails. */
export function read(pieces: string | readonly Buffer[], maxBytes?: number) {
  const output = new OutputCount();
  if (maxBytes !== undefined) output.maxBytes = maxBytes;
  const reader = new AnswerReader(output);
  const deltas: AnswerDelta[] = [];
  let failure: unknown;
  let isDone = false;
  try {
    for (const piece of typeof pieces === "string" ? [Buffer.from(pieces)] : pieces) {
      const pushed = reader.push(piece);
      deltas.push(...(pushed.out ?? []));
      isDone = pushed.isDone === true;
      if (pushed.failure !== undefined) throw pushed.failure;
      if (isDone) break;
    }
    const end = reader.end();
    deltas.push(...end.out);
    if (end.failure !== undefined) throw end.failure;
  } catch (error) {
    failure = error;
  }
  const said = (type: AnswerDelta["type"]) => deltas.flatMap((delta) => (delta.type === type ? [delta.delta] : [])).join("");
  const error = failure === undefined ? undefined : { reason: reasonOf(failure), message: (failure as Error).message };
  const { answer, usage } = reader;
  return {
    ...answer,
    calls: answer.toolCalls.map(briefly),
    usage,
    isDone,
    failure,
    error,
    deltas,
    said: said("content"),
    thought: said("reasoning"),
  };
}

/** A call as `name(arguments)`. */
export const briefly = ({ function: { name, arguments: args } }: { function: { name: string; arguments: string } }) =>
  `${name}(${args})`;

/** The client's side of a streamed answer. */
export function tapped(options: TapOptions, pieces: string | readonly Buffer[]) {
  const tap = new StreamTap(options);
  const parts: Buffer[] = [];
  let failure: unknown;
  try {
    for (const piece of typeof pieces === "string" ? [Buffer.from(pieces)] : pieces) {
      const { out, failure: thrown, isDone } = tap.push(piece);
      if (out !== undefined) parts.push(out);
      if (thrown !== undefined) throw thrown;
      if (isDone) break;
    }
    const { out: rest, failure: cut } = tap.end();
    if (rest !== undefined) parts.push(rest);
    if (cut !== undefined) throw cut;
  } catch (error) {
    failure = error;
  }
  const output = Buffer.concat(parts).toString();
  const error = failure === undefined ? undefined : { reason: reasonOf(failure), message: (failure as Error).message };
  return { tap, output, frames: eventJson(output), error };
}
