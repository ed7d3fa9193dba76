/** Share of the room that the beginning of a shortened text gets; its end gets the rest. */
const headShare = 0.75;
/** Room for the note between them, in bytes. */
const noteBytes = 48;

const note = (bytes: number) => `\n[Left out here: ${bytes} bytes]\n`;
/** Notes that are in the text already: the journal shortens very long texts before they come here. */
const notes = /\n\[Left out here: (\d{1,12}) bytes\]\n/g;

/** Bytes of a text that is shortened to so many. */
export function shortenedBytes(bytes: number, limit: number): number {
  return bytes <= limit ? bytes : Math.max(limit, noteBytes);
}

/**
 * Shortens a text to about `limit` bytes: its beginning and its end stay, and a note between them says how many bytes
 * are missing. No character is split.
 */
export function shortened(text: string, limit: number): string {
  // No character takes less than a byte or more than three in one UTF-16 unit.
  if (text.length * 3 <= limit) return text;
  const bytes = Buffer.from(text, "utf8");
  if (bytes.length <= limit) return text;
  const room = Math.max(0, limit - noteBytes);
  const headEnd = characterStart(bytes, Math.floor(room * headShare));
  const tailStart = characterStart(bytes, bytes.length - Math.floor(room * (1 - headShare)));
  let leftOut = tailStart - headEnd;
  for (const [whole, count] of bytes.toString("utf8", headEnd, tailStart).matchAll(notes))
    leftOut += Number(count) - whole.length;
  return bytes.toString("utf8", 0, headEnd) + note(leftOut) + bytes.toString("utf8", tailStart);
}

/** The last start of a character at or before an offset. */
function characterStart(bytes: Buffer, offset: number): number {
  let at = offset;
  while (at > 0 && at < bytes.length && ((bytes[at] as number) & 0xc0) === 0x80) at -= 1;
  return at;
}
