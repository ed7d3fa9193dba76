import { ErrorReason, fail } from "@turnwright/platform/errors";
import { addUsage, type ModelToolCall, type ModelUsage, noUsage } from "./chunk.ts";

/** A message in OpenAI's format. */
export interface OpenAiMessage {
  role: string;
  content?: unknown;
  tool_calls?: ModelToolCall[];
  tool_call_id?: string;
}

/** A whole answer that the edge has checked. */
export interface CheckedCompletion {
  /** The endpoint's own bytes. */
  readonly bytes: Buffer;
  readonly json: {
    model?: string;
    choices?: { message?: OpenAiMessage; finish_reason?: string }[];
    usage?: ModelUsage;
  };
  /** The message of the first choice. */
  readonly message: OpenAiMessage;
  readonly usage: ModelUsage;
}

/** Reads an answer that was not streamed. Throws MODEL_FAILED. */
export function readCompletion(bytes: Buffer): CheckedCompletion {
  let json: CheckedCompletion["json"] | null;
  try {
    json = JSON.parse(bytes.toString("utf8")) as CheckedCompletion["json"] | null;
  } catch (error) {
    throw fail(ErrorReason.MODEL_FAILED, "The model's endpoint sent text that is not JSON.", { cause: error });
  }
  const message = json?.choices?.[0]?.message;
  if (!json || !message) throw fail(ErrorReason.MODEL_FAILED, "The model's endpoint sent JSON that is not a completion.");
  return { bytes, json, message, usage: addUsage(noUsage, json.usage) };
}
