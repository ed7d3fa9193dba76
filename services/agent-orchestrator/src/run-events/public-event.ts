import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { MessageSchema } from "@turnwright/contract/conversation/v1/conversation";
import { findAgent } from "../agents/agents.ts";
import type { RunFrame } from "./frame.ts";

/** A reader's wishes for the events of a run, and the facts that fill them. */
export interface EventForm {
  /** The most characters of a text; undefined: whole texts. */
  readonly contentLimit?: number;
  readonly defaultModel: string;
}

/** Cuts texts and counts what it cut. */
class Cutter {
  readonly #limit: number;
  /** Bytes of UTF-8. */
  bytes = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** The beginning of a text; no character is split. */
  cut(text = ""): string {
    if (text.length <= this.#limit) return text;
    const last = text.charCodeAt(this.#limit - 1);
    const end = last >= 0xd800 && last < 0xdc00 ? this.#limit - 1 : this.#limit;
    this.bytes += Buffer.byteLength(text.slice(end));
    return text.slice(0, end);
  }
}

/** Cuts the texts of an event, apart from its `delta`, which is short. */
function cutTexts(frame: RunFrame, limit: number): RunFrame {
  const { result, error, toolCall, message } = frame;
  if (result === undefined && error === undefined && toolCall === undefined && message === undefined) return frame;
  const cutter = new Cutter(limit);
  const call = toolCall?.function;
  const answer = message && create(MessageSchema, message);
  const cut: RunFrame = {
    ...frame,
    result: cutter.cut(result),
    error: cutter.cut(error),
    toolCall: call && {
      id: toolCall.id,
      type: toolCall.type,
      function: { name: call.name, arguments: cutter.cut(call.arguments) },
    },
    message: answer && { ...answer, content: cutter.cut(answer.content), reasoning: cutter.cut(answer.reasoning) },
  };
  return cutter.bytes === 0 ? frame : { ...cut, truncatedBytes: cutter.bytes };
}

/** The model of a run that has begun: the one in its row, else that of its agent. */
function modelOf({ runModel = "", agentType = "" }: RunFrame, defaultModel: string): string {
  if (runModel !== "" || agentType === "") return runModel;
  return findAgent(agentType)?.model ?? defaultModel;
}

/** A frame as a reader of the run's events gets it. */
export function publicEvent(frame: RunFrame, { contentLimit, defaultModel }: EventForm): RunFrame {
  const cut = contentLimit === undefined ? frame : cutTexts(frame, contentLimit);
  const at = frame.atMs === undefined ? undefined : timestampFromMs(frame.atMs);
  return frame.type === "started" ? { ...cut, at, model: modelOf(frame, defaultModel) } : { ...cut, at };
}
