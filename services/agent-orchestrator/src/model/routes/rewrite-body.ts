import { members } from "@turnwright/platform/json/json-text";

/** The changes to a request's body on its way to a provider. */
export interface BodyRewrite {
  /** The provider's name of the model. */
  readonly model: string;
  /** Fields that are left out. */
  readonly deny: ReadonlySet<string>;
  /** New names of fields, by old name. A field that the request has under its new name too is left out. */
  readonly rename: ReadonlyMap<string, string>;
}

/** Text as JSON, one character per byte of its UTF-8. */
function encoded(text: string): string {
  return Buffer.from(JSON.stringify(text)).toString("latin1");
}

/**
 * A body as a provider takes it. Only members of the outermost object change; all other text passes byte for byte, and
 * a body that needs no change is returned as it is. `body` is valid JSON: an object.
 */
export function rewriteBody(body: Uint8Array, { model, deny, rename }: BodyRewrite): Uint8Array {
  // One character per byte: offsets are those of the body, and bytes pass unread.
  const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString("latin1");
  const found = [...members(text)];
  const names = new Set(found.map(({ name }) => name));
  const parts: string[] = [];
  let hasModel = false;
  let isChanged = false;
  for (const { name, start, valueStart, end } of found) {
    const target = rename.get(name);
    if (deny.has(name) || (target !== undefined && (names.has(target) || deny.has(target)))) {
      isChanged = true;
    } else if (name === "model") {
      const value = encoded(model);
      isChanged ||= text.slice(valueStart, end) !== value;
      parts.push(`"model":${value}`);
      hasModel = true;
    } else if (target !== undefined) {
      isChanged = true;
      parts.push(`${encoded(target)}:${text.slice(valueStart, end)}`);
    } else parts.push(text.slice(start, end));
  }
  if (!hasModel) parts.push(`"model":${encoded(model)}`);
  if (!isChanged && hasModel) return body;
  return Buffer.from(`{${parts.join(",")}}`, "latin1");
}
