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

/** Reads and checks a request body. Throws INVALID_REQUEST with the field. */
export function parseBody(bytes: Uint8Array): CompletionBody {
  const excess = jsonExcess(bytes, maxCompletionValues);
  if (excess !== undefined) throw fail(ErrorReason.INVALID_REQUEST, `body: ${excess}`);
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8"));
  } catch (error) {
    throw fail(ErrorReason.INVALID_REQUEST, `body: not valid JSON (${(error as Error).message})`, { cause: error });
  }
  const parsed = completionBody.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const param = pathOf(issue?.path ?? []);
  throw fail(ErrorReason.INVALID_REQUEST, `${param === "" ? "body" : param}: ${issue?.message ?? "is not valid"}`, { param });
}
