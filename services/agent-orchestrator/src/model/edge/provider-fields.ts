import { type ExtraFields, maxExtraFields } from "./extra-fields.ts";

/** Fields of an answer's message that are not sent back as they came: each endpoint knows them, or only sends them. */
export const messageFields: ReadonlySet<string> = new Set([
  "annotations",
  "audio",
  "content",
  "function_call",
  "images",
  "refusal",
  "role",
  "tool_calls",
]);

/**
 * The extra fields of a message and of its calls as JSON text. `text` is empty when there are none, and when there are
 * too many of them: `isTooLarge`.
 */
export function providerFields(
  message: ExtraFields,
  calls: readonly (Record<string, unknown> | undefined)[],
): { text: string; isTooLarge: boolean } {
  const { value, isTooLarge } = message;
  if (isTooLarge) return { text: "", isTooLarge };
  if (value === undefined && calls.every((fields) => fields === undefined)) return { text: "", isTooLarge: false };
  const text = JSON.stringify({ message: value ?? {}, calls: calls.map((fields) => fields ?? null) });
  return text.length > maxExtraFields ? { text: "", isTooLarge: true } : { text, isTooLarge: false };
}
