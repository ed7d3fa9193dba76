import { isUtf8 } from "node:buffer";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { jsonExcess, maxCompletionValues } from "@turnwright/platform/json/json-depth";
import { z } from "zod";
import { invalidModelName, isModelName } from "../model/model-name.ts";
import { type ExactJson, readExactly } from "./exact-json.ts";

const message = z.looseObject({
  role: z.enum(["system", "developer", "user", "assistant", "tool", "function"]),
  content: z
    .union([z.string(), z.array(z.looseObject({ type: z.string() })), z.null()], { error: "expected a text or a list of parts" })
    .optional(),
  name: z.string().nullish(),
  tool_calls: z
    .array(z.looseObject({ id: z.string(), function: z.looseObject({ name: z.string(), arguments: z.string() }).optional() }))
    .nullish(),
  tool_call_id: z.string().nullish(),
});

const tool = z.looseObject({ type: z.string(), function: z.looseObject({ name: z.string().min(1).max(100) }).optional() });

/** The fields of OpenAI's request that the orchestrator reads; other fields pass through. */
const completionBody = z.looseObject({
  model: z.string().max(200).refine(isModelName, invalidModelName).nullish(),
  messages: z.array(message).min(1, "must have at least one message"),
  tools: z.array(tool).max(128).nullish(),
  // `any` is Mistral's word for `required`.
  tool_choice: z
    .union([z.enum(["none", "auto", "required", "any"]), z.looseObject({ type: z.string() })], {
      error: "expected none, auto, required, or an object with a type",
    })
    .nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  max_tokens: z.int().min(1).nullish(),
  max_completion_tokens: z.int().min(1).nullish(),
  n: z.int().min(1).max(128).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).nullish(),
  /** Not OpenAI's: never sent to the endpoint. */
  server_tools: z.union([z.boolean(), z.enum(["on", "off"])], { error: 'expected "on" or "off"' }).nullish(),
});

/** A validated request. */
export type CompletionBody = z.output<typeof completionBody>;

/** A path as OpenAI writes it, such as `messages[0].role`. */
function pathOf(path: readonly PropertyKey[]): string {
  return path
    .map((part) => (typeof part === "number" ? `[${part}]` : `.${String(part)}`))
    .join("")
    .replace(/^\./, "");
}

/** A body as text. */
export function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8");
}

/** A body as JSON. Throws INVALID_REQUEST. */
export function readJson(bytes: Uint8Array, text = textOf(bytes)): ExactJson {
  const excess = jsonExcess(bytes, maxCompletionValues);
  if (excess !== undefined) throw fail(ErrorReason.INVALID_REQUEST, `body: ${excess}`);
  try {
    return readExactly(text);
  } catch (error) {
    throw fail(ErrorReason.INVALID_REQUEST, `body: not valid JSON (${(error as Error).message})`, { cause: error });
  }
}

/** Validates a request. Throws INVALID_REQUEST with the field. */
export function checkBody(json: unknown): CompletionBody {
  const parsed = completionBody.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const param = pathOf(issue?.path ?? []);
  throw fail(ErrorReason.INVALID_REQUEST, `${param === "" ? "body" : param}: ${issue?.message ?? "is not valid"}`, { param });
}

/** Reads and validates a request body. Throws INVALID_REQUEST with the field. */
export function parseBody(bytes: Uint8Array): CompletionBody {
  return checkBody(readJson(bytes).value);
}

/** Index of the quote that ends a JSON string which begins at `from`. */
function endOfString(text: string, from: number): number {
  for (let at = text.indexOf('"', from + 1); ; at = text.indexOf('"', at + 1)) {
    let slashes = 0;
    while (text[at - 1 - slashes] === "\\") slashes++;
    if (slashes % 2 === 0) return at;
  }
}

/** Whether a valid JSON text has this many members in all its objects, and every name is written without escapes. */
function isPlain(text: string, members: number): boolean {
  let names = 0;
  let end = 0;
  for (let at = text.indexOf('"'); at >= 0; at = text.indexOf('"', end + 1)) {
    end = endOfString(text, at);
    let next = end + 1;
    while (text.charCodeAt(next) <= 0x20) next++;
    if (text[next] !== ":") continue;
    names += 1;
    for (let i = at; i < end; i++) if (text[i] === "\\") return false;
  }
  return names === members;
}

/**
 * Whether another reader may understand a body differently: a field stands twice, bytes are not UTF-8, or a field's
 * name has escapes. `members` is the number of members that were read from its text. V8 itself takes an escaped name
 * for another one at times (13.6: `api\u005fbase` for `api\\u005`, where an earlier text had that in the same place).
 */
export function isAmbiguous(bytes: Uint8Array, text: string, members: number): boolean {
  return !isUtf8(bytes) || !isPlain(text, members);
}
