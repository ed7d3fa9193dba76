/** A line of indented JSON: its key stands apart, so that it can be drawn apart. */
export interface JsonLine {
  readonly indent: number;
  /** With its quotes; empty in arrays and for closing brackets. */
  readonly key: string;
  /** As it stands in the text: no number is rounded, no escape is rewritten. */
  readonly rest: string;
}

const isSpace = (code: number) => code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;

/** The end of a string that begins at `start`. */
function stringEnd(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length && text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
  return Math.min(at + 1, text.length);
}

function skipSpace(text: string, start: number): number {
  let at = start;
  while (at < text.length && isSpace(text.charCodeAt(at))) at += 1;
  return at;
}

/** The end of a number or word that begins at `start`. */
function wordEnd(text: string, start: number): number {
  let at = start;
  while (at < text.length && !/[\s,:[\]{}"]/.test(text[at] ?? "")) at += 1;
  return Math.max(at, start + 1);
}

/**
 * The lines of a JSON text, one at a time: a reader that stops early pays only for the lines it took. The text is JSON;
 * of another text, nothing but white space is lost.
 */
export function* jsonLines(text: string): Generator<JsonLine> {
  let depth = 0;
  let key = "";
  let rest = "";
  let at = skipSpace(text, 0);
  const line = (): JsonLine => ({ indent: depth, key, rest });
  while (at < text.length) {
    const char = text[at] ?? "";
    if (char === '"') {
      const end = stringEnd(text, at);
      const value = text.slice(at, end);
      at = skipSpace(text, end);
      if (text[at] === ":" && key === "" && rest === "") {
        key = value;
        at = skipSpace(text, at + 1);
        continue;
      }
      rest += value;
    } else if (char === "{" || char === "[") {
      const next = skipSpace(text, at + 1);
      if (text[next] === (char === "{" ? "}" : "]")) {
        rest += char + text[next];
        at = next + 1;
      } else {
        rest += char;
        yield line();
        key = "";
        rest = "";
        depth += 1;
        at = next;
        continue;
      }
    } else if (char === "}" || char === "]") {
      if (rest !== "" || key !== "") yield line();
      key = "";
      rest = char;
      depth = Math.max(0, depth - 1);
      at += 1;
    } else if (char === ",") {
      rest += ",";
      yield line();
      key = "";
      rest = "";
      at += 1;
    } else {
      const end = wordEnd(text, at);
      rest += text.slice(at, end);
      at = end;
    }
    at = skipSpace(text, at);
  }
  if (rest !== "" || key !== "") yield line();
}

/** Largest text that is indented, in characters. */
export const indentedUpTo = 256_000;

/** Whether a text is JSON that is worth indenting: an object or an array, and not too long. */
export function isIndentable(text: string): boolean {
  if (text.length > indentedUpTo || !/^\s*[[{]/.test(text)) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
