/** The nesting that bodies, arguments and results may have. A protobuf `Value` that is deeper cannot be decoded on the way out. */
export const maxJsonDepth = 32;

const [quote, backslash, openBrace, closeBrace, openBracket, closeBracket] = [0x22, 0x5c, 0x7b, 0x7d, 0x5b, 0x5d];

/** Whether JSON text nests deeper than we accept, without parsing it and without a stack of its own; what stands in strings does not count. */
export function isTooDeep(json: string | Uint8Array): boolean {
  const bytes = typeof json === "string" ? Buffer.from(json) : json;
  // Each level takes two characters at least.
  if (bytes.byteLength <= maxJsonDepth) return false;
  let depth = 0;
  let inString = false;
  for (let i = 0; i < bytes.byteLength; i++) {
    const byte = bytes[i];
    if (inString) {
      if (byte === backslash) i++;
      else if (byte === quote) inString = false;
    } else if (byte === quote) inString = true;
    else if (byte === openBrace || byte === openBracket) {
      depth += 1;
      if (depth > maxJsonDepth) return true;
    } else if (byte === closeBrace || byte === closeBracket) depth -= 1;
  }
  return false;
}
