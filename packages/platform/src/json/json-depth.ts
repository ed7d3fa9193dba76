/**
 * The nesting that bodies, arguments and results may have. A protobuf `Value` that is deeper cannot be decoded on the
 * way out.
 */
export const maxJsonDepth = 32;
/** The most members and elements of a completion request: a MiB of histories and tool definitions has fewer. */
export const maxCompletionValues = 50_000;

const [quote, backslash, openBrace, closeBrace, openBracket, closeBracket, comma] = [0x22, 0x5c, 0x7b, 0x7d, 0x5b, 0x5d, 0x2c];

/**
 * What JSON text has too much of, as the end of a sentence; undefined: it is within bounds. Reads the text once,
 * without parsing it and without a stack; what stands in strings does not count. `maxValues` bounds commas and opening
 * brackets together, which are as many as values or more: parsing costs by the value, not by the byte.
 */
export function jsonExcess(json: string | Uint8Array, maxValues = Number.POSITIVE_INFINITY): string | undefined {
  const bytes = typeof json === "string" ? Buffer.from(json) : json;
  // Each level takes two characters at least, each value one.
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

/** Whether JSON text nests deeper than we accept. */
export function isTooDeep(json: string | Uint8Array): boolean {
  return jsonExcess(json) !== undefined;
}
