/** The beginning of a data frame that can be spliced. */
export const frameStart = "data: {";

const deltaKey = '"delta":{';
const contentKey = '"content":"';
const unfinished = '"finish_reason":null';
const finishKey = '"finish_reason"';
/** Text that a frame with nothing but content does not contain. */
const others = ['"tool_calls"', '"usage":{', '"error"', "\n"];
/** The only fields that may stand beside the content in a delta: any other may be output too, which must be counted. */
const emptyBefore = /^(?:"\w+":(?:null|"assistant"),)*$/;
const emptyAfter = /(?:,"\w+":null)*\}/y;
const choiceIndex = /"index": ?(\d{1,3})\b/;
/** The most characters around the content. */
const maxEnvelope = 1_024;

/** Index behind the string literal that begins at `from`; -1 when it does not end. */
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

/** Index of the delta's content; -1 when the content is not the delta's own, or a field before it may be output. */
function contentStart(frame: string): number {
  const delta = frame.indexOf(deltaKey);
  if (delta < 0) return -1;
  const content = frame.indexOf(contentKey, delta);
  if (content < 0 || !emptyBefore.test(frame.slice(delta + deltaKey.length, content))) return -1;
  return content + contentKey.length - 1;
}

/**
 * Place of the content's JSON string in the common kind of frame: the content of one answer and nothing else. Keys are
 * searched as characters: a quote inside a JSON string is escaped, so the pattern cannot occur inside one.
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
  // The frame has more than one answer.
  if (frame.includes(deltaKey, to) || others.some((key) => frame.includes(key))) return undefined;
  return { from, to };
}

/**
 * Finds the content of frames. The frames of an endpoint differ in their content only, so the last frame's shape
 * usually fits the next one.
 */
export class ContentFrames {
  #before = "";
  #after = "";
  #index = 0;
  #hasRole = false;

  /** The index of the answer in the last frame that was found. */
  get index(): number {
    return this.#index;
  }

  /** Whether that frame tells a role. */
  get hasRole(): boolean {
    return this.#hasRole;
  }

  /** The JSON string of a frame's content, quotes included; undefined when the frame must be parsed. */
  literal(frame: string): string | undefined {
    return this.#literalByShape(frame) ?? this.#literalBySearch(frame);
  }

  #literalByShape(frame: string): string | undefined {
    const { length: from } = this.#before;
    const to = frame.length - this.#after.length;
    if (from === 0 || to <= from || !frame.startsWith(this.#before) || !frame.endsWith(this.#after)) return undefined;
    // A quote inside the content, or an escaped one at its end, needs the search.
    const at = frame.indexOf('"', from);
    return at === to && frame[to - 1] !== "\\" ? frame.slice(from - 1, to + 1) : undefined;
  }

  #literalBySearch(frame: string): string | undefined {
    const found = contentLiteral(frame);
    if (found === undefined) return undefined;
    this.#before = frame.slice(0, found.from + 1);
    this.#after = frame.slice(found.to - 1);
    this.#hasRole = this.#before.includes('"role"');
    this.#index = Number((choiceIndex.exec(this.#before) ?? choiceIndex.exec(this.#after))?.[1] ?? 0);
    return frame.slice(found.from, found.to);
  }
}
