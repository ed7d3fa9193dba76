/** Maximum nesting of bodies, arguments and results. A deeper protobuf `Value` could not be decoded in a response. */
export const maxJsonDepth = 32;
/**
 * Maximum number of members and elements in a completion request: one MiB of history and tool definitions has fewer.
 */
export const maxCompletionValues = 50_000;

const [quote, backslash, openBrace, closeBrace, openBracket, closeBracket, comma] = [0x22, 0x5c, 0x7b, 0x7d, 0x5b, 0x5d, 0x2c];

/**
 * The limit that JSON text exceeds, as the end of a sentence; undefined when it is within all limits. Scans the text
 * once, without parsing and without a stack, and ignores the content of strings. `maxValues` limits the commas and
 * opening brackets together, which are at least as many as the values: parsing costs per value, not per byte.
 */
export function jsonExcess(json: string | Uint8Array, maxValues = Number.POSITIVE_INFINITY): string | undefined {
  const bytes = typeof json === "string" ? Buffer.from(json) : json;
  // Each level takes at least two characters, each value one.
  if (bytes.byteLength <= maxJsonDepth && bytes.byteLength <= maxValues) return undefined;
  let depth = 0;
  let values = 0;
  let inString = false;
  for (let i = 0; i < bytes.byteLength; i++) {
    const byte = bytes[i];
    if (inString) {
      if (byte === backslash) i++;
      else if (byte === quote) inString = false;
    } else if (byte === quote) inString = true;
    else if (byte === openBrace || byte === openBracket) {
      depth += 1;
      values += 1;
      if (depth > maxJsonDepth) return `nests deeper than ${maxJsonDepth} levels`;
      if (values > maxValues) return `holds more than ${maxValues} values`;
    } else if (byte === comma) {
      values += 1;
      if (values > maxValues) return `holds more than ${maxValues} values`;
    } else if (byte === closeBrace || byte === closeBracket) depth -= 1;
  }
  return undefined;
}

/** Whether JSON text is nested deeper than the limit. */
export function isTooDeep(json: string | Uint8Array): boolean {
  return jsonExcess(json) !== undefined;
}
