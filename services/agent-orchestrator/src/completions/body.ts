import { isUtf8 } from "node:buffer";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { jsonExcess, maxCompletionValues } from "@turnwright/platform/json-depth";
import { z } from "zod";

const message = z.looseObject({
  role: z.enum(["system", "developer", "user", "assistant", "tool", "function"]),
  content: z.union([z.string(), z.array(z.looseObject({ type: z.string() })), z.null()]).optional(),
  name: z.string().nullish(),
  tool_calls: z
    .array(z.looseObject({ id: z.string(), function: z.looseObject({ name: z.string(), arguments: z.string() }).optional() }))
    .nullish(),
  tool_call_id: z.string().nullish(),
});

const tool = z.looseObject({ type: z.string(), function: z.looseObject({ name: z.string().min(1).max(100) }).optional() });

/** OpenAI's request, as far as we decide by it; fields beyond pass through. */
const completionBody = z.looseObject({
  model: z.string().max(200).nullish(),
  messages: z.array(message).min(1, "must have at least one message"),
  tools: z.array(tool).max(128).nullish(),
  tool_choice: z.union([z.enum(["none", "auto", "required"]), z.looseObject({ type: z.string() })]).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  max_tokens: z.int().min(1).nullish(),
  max_completion_tokens: z.int().min(1).nullish(),
  n: z.int().min(1).max(128).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).nullish(),
});

/** A checked request. */
export type CompletionBody = z.output<typeof completionBody>;

/** `messages[0].role`, as OpenAI names fields. */
function pathOf(path: readonly PropertyKey[]): string {
  return path
    .map((part) => (typeof part === "number" ? `[${part}]` : `.${String(part)}`))
    .join("")
    .replace(/^\./, "");
}

/** A body's text as JSON. Throws INVALID_REQUEST. */
export function readJson(bytes: Uint8Array): unknown {
  const excess = jsonExcess(bytes, maxCompletionValues);
  if (excess !== undefined) throw fail(ErrorReason.INVALID_REQUEST, `body: ${excess}`);
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8"));
  } catch (error) {
    throw fail(ErrorReason.INVALID_REQUEST, `body: not valid JSON (${(error as Error).message})`, { cause: error });
  }
}

/** Checks a request. Throws INVALID_REQUEST with the field. */
export function checkBody(json: unknown): CompletionBody {
  const parsed = completionBody.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const param = pathOf(issue?.path ?? []);
  throw fail(ErrorReason.INVALID_REQUEST, `${param === "" ? "body" : param}: ${issue?.message ?? "is not valid"}`, { param });
}

/** Reads and checks a request body. Throws INVALID_REQUEST with the field. */
export function parseBody(bytes: Uint8Array): CompletionBody {
  return checkBody(readJson(bytes));
}

const [quote, backslash, colon] = [0x22, 0x5c, 0x3a];

/** Whether a valid JSON text has so many members in all its objects, and all their names are written without escapes. */
function isPlain(bytes: Uint8Array, members: number): boolean {
  let names = 0;
  let inString = false;
  let hasEscape = false;
  for (let i = 0; i < bytes.byteLength; i++) {
    const byte = bytes[i];
    if (inString) {
      if (byte === backslash) {
        hasEscape = true;
        i++;
      } else if (byte === quote) inString = false;
    } else if (byte === quote) {
      inString = true;
      hasEscape = false;
    } else if (byte === colon) {
      if (hasEscape) return false;
      names += 1;
    }
  }
  return names === members;
}

/**
 * Whether the bytes of a body may mean something else to another reader than what was read of it, which had so many `members`: a field stands twice, or
 * bytes are no UTF-8, or the name of a field has escapes. V8 itself takes such a name for another one at times (13.6: `api\u005fbase` for `api\\u005`,
 * where an earlier text had that in the same place).
 */
export function isAmbiguous(bytes: Uint8Array, members: number): boolean {
  return !isUtf8(bytes) || !isPlain(bytes, members);
}
