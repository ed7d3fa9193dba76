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

/** The extra fields of a message and of its calls as JSON text; empty when there are none, or too many of them. */
export function providerFields(message: ExtraFields, calls: readonly (Record<string, unknown> | undefined)[]): string {
  const { value } = message;
  if (value === undefined && calls.every((fields) => fields === undefined)) return "";
  const text = JSON.stringify({ message: value ?? {}, calls: calls.map((fields) => fields ?? null) });
  return text.length > maxExtraFields ? "" : text;
}
