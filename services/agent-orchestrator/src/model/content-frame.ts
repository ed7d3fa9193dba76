/** How frames of data begin that can be spliced. */
export const frameStart = "data: {";

const deltaKey = '"delta":{';
const contentKey = '"content":"';
const unfinished = '"finish_reason":null';
const finishKey = '"finish_reason"';
/** What a frame of text and nothing else does not hold. */
const others = ['"tool_calls"', '"usage":{', '"error"', "\n"];
/** What may stand in a delta beside its text: anything else may be output too, which has to be counted. */
const emptyBefore = /^(?:"\w+":(?:null|"assistant"),)*$/;
const emptyAfter = /(?:,"\w+":null)*\}/y;
/** The most that surrounds the text. */
const maxEnvelope = 1_024;

/** The index after the string literal that begins at `from`; -1 when it does not end. */
function literalEnd(frame: string, from: number): number {
  let at = frame.indexOf('"', from + 1);
  while (at > 0) {
    let slashes = 0;
    while (frame[at - 1 - slashes] === "\\") slashes++;
    if (slashes % 2 === 0) return at + 1;
    at = frame.indexOf('"', at + 1);
  }
  return -1;
}

/**
 * Where a delta's text begins; -1 when the text is not the delta's own, or something stands before it that may be
 * output.
 */
function contentStart(frame: string): number {
  const delta = frame.indexOf(deltaKey);
  if (delta < 0) return -1;
  const content = frame.indexOf(contentKey, delta);
  if (content < 0 || !emptyBefore.test(frame.slice(delta + deltaKey.length, content))) return -1;
  return content + contentKey.length - 1;
}

/**
 * Where the JSON string of a frame's text stands, when the frame is the common one: one answer's text and nothing else.
 * Keys are searched as characters: a quote inside of a JSON string is escaped, so the pattern cannot stand inside of
 * one.
 */
function contentLiteral(frame: string): { from: number; to: number } | undefined {
  if (!frame.startsWith(frameStart)) return undefined;
  const from = contentStart(frame);
  if (from < 0) return undefined;
  const to = literalEnd(frame, from);
  if (to < 0 || to === from + 2 || frame.length - (to - from) > maxEnvelope) return undefined;
  emptyAfter.lastIndex = to;
  if (!emptyAfter.test(frame)) return undefined;
  if (!frame.includes(unfinished) && frame.includes(finishKey)) return undefined;
  // More than one answer in a frame.
  if (frame.includes(deltaKey, to) || others.some((key) => frame.includes(key))) return undefined;
  return { from, to };
}

/**
 * Finds the text of frames. An endpoint's frames differ in nothing but their text: the shape of the last one tells most
 * of the next.
 */
export class ContentFrames {
  #before = "";
  #after = "";

  /** The JSON string of the text that a frame adds, quotes included; undefined when the frame must be parsed. */
  literal(frame: string): string | undefined {
    return this.#literalByShape(frame) ?? this.#literalBySearch(frame);
  }

  #literalByShape(frame: string): string | undefined {
    const { length: from } = this.#before;
    const to = frame.length - this.#after.length;
    if (from === 0 || to <= from || !frame.startsWith(this.#before) || !frame.endsWith(this.#after)) return undefined;
    // A quote inside, or one that is escaped at the end, must be looked at.
    const at = frame.indexOf('"', from);
    return at === to && frame[to - 1] !== "\\" ? frame.slice(from - 1, to + 1) : undefined;
  }

  #literalBySearch(frame: string): string | undefined {
    const found = contentLiteral(frame);
    if (found === undefined) return undefined;
    this.#before = frame.slice(0, found.from + 1);
    this.#after = frame.slice(found.to - 1);
    return frame.slice(found.from, found.to);
  }
}
