/** Share of the room that the beginning of a shortened text gets; its end gets the rest. */
const headShare = 0.75;
/** Room for the note between them, in bytes. */
const noteBytes = 48;

const noteStart = "\n[Left out here: ";
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
  const bytes = Buffer.byteLength(text);
  if (bytes <= limit) return text;
  const room = Math.max(0, limit - noteBytes);
  const headRoom = Math.floor(room * headShare);
  const tailRoom = room - headRoom;
  // The long middle is not encoded.
  const head = Buffer.from(text.slice(0, headRoom));
  const tail = Buffer.from(tailRoom === 0 ? "" : text.slice(-tailRoom));
  const first = head.toString("utf8", 0, characterStart(head, Math.min(headRoom, head.length), -1));
  const last = tail.toString("utf8", characterStart(tail, Math.max(0, tail.length - tailRoom), 1));
  let leftOut = bytes - Buffer.byteLength(first) - Buffer.byteLength(last);
  if (text.includes(noteStart)) {
    const middle = text.slice(first.length, text.length - last.length);
    for (const [whole, count] of middle.matchAll(notes)) leftOut += Number(count) - whole.length;
  }
  return `${first}${noteStart}${leftOut} bytes]\n${last}`;
}

/** The start of a character that is next to an offset in a direction. */
function characterStart(bytes: Buffer, offset: number, step: 1 | -1): number {
  let at = offset;
  while (at > 0 && at < bytes.length && ((bytes[at] as number) & 0xc0) === 0x80) at += step;
  return at;
}
