const textTypes =
  /^(?:text\/|application\/(?:[\w.-]+\+)?(?:json|xml)\b|application\/(?:x-ndjson|javascript|ecmascript|x-www-form-urlencoded|yaml|x-yaml|toml|sql|graphql)\b|image\/svg\+xml\b)/;

/** Whether a body is text, by its headers. A body without a type counts as text, a compressed one does not. */
export function isText(headers: Readonly<Record<string, string>>): boolean {
  const encoding = headers["content-encoding"] ?? "identity";
  if (encoding !== "identity") return false;
  const type = (headers["content-type"] ?? "").trim().toLowerCase();
  return type === "" || textTypes.test(type);
}

/** Decodes a body by the charset of its content type; UTF-8 when that is missing or unknown. */
export function decodeText(body: Uint8Array, contentType: string): string {
  const charset = /charset=["']?([\w-]+)/i.exec(contentType)?.[1] ?? "utf-8";
  // A body may be cut inside a character. Streaming drops that character instead of replacing it.
  const decode = (label: string) => new TextDecoder(label).decode(body, { stream: true });
  try {
    return decode(charset);
  } catch (error) {
    if (error instanceof RangeError) return decode("utf-8");
    throw error;
  }
}
