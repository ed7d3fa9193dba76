import { memberTexts } from "@turnwright/platform/json/json-text";

/** Changes to the fields of a body: the new name of each, or null to leave it out. */
export type FieldChanges = Readonly<Record<string, string | null>>;

function textOf(body: Uint8Array): string {
  return Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString("utf8");
}

/** Whether a body has a field at its top. */
export function hasField(body: Uint8Array, field: string): boolean {
  return memberTexts(textOf(body)).has(field);
}

/** The text in a field at the top of a body; empty when it is not a text. */
export function fieldText(body: Uint8Array, field: string): string {
  const text = memberTexts(textOf(body)).get(field);
  return text?.startsWith('"') ? (JSON.parse(text) as string) : "";
}

/**
 * A body with other fields at its top. Values stay byte for byte. A field is left out when its new name is taken.
 */
export function withFields(body: Uint8Array, changes: FieldChanges): Uint8Array {
  const members = memberTexts(textOf(body));
  if (!Object.keys(changes).some((field) => members.has(field))) return body;
  const kept = [...members].flatMap(([name, value]) => {
    const change = Object.hasOwn(changes, name) ? changes[name] : name;
    if (change === null || change === undefined || (change !== name && members.has(change))) return [];
    return [`${JSON.stringify(change)}:${value}`];
  });
  return Buffer.from(`{${kept.join(",")}}`);
}
