// Parts of JSON text exactly as written. All functions expect text that JSON.parse accepts.

const [quote, backslash, comma, colon] = [0x22, 0x5c, 0x2c, 0x3a];
const [openBrace, closeBrace, openBracket, closeBracket] = [0x7b, 0x7d, 0x5b, 0x5d];

const isSpace = (code: number) => code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;

function afterSpace(json: string, from: number): number {
  let at = from;
  while (isSpace(json.charCodeAt(at))) at++;
  return at;
}

function endOfString(json: string, start: number): number {
  for (let end = json.indexOf('"', start + 1); end >= 0; end = json.indexOf('"', end + 1)) {
    let first = end;
    while (json.charCodeAt(first - 1) === backslash) first--;
    // A quote behind an odd number of backslashes is escaped.
    if ((end - first) % 2 === 0) return end + 1;
  }
  return json.length;
}

function endOfValue(json: string, start: number): number {
  let depth = 0;
  for (let at = start; at < json.length; at++) {
    const code = json.charCodeAt(at);
    if (code === quote) {
      at = endOfString(json, at) - 1;
      if (depth === 0) return at + 1;
    } else if (code === openBrace || code === openBracket) depth += 1;
    else if (code === closeBrace || code === closeBracket) {
      if (depth === 0) return at;
      depth -= 1;
      if (depth === 0) return at + 1;
    } else if (depth === 0 && (code === comma || isSpace(code))) return at;
  }
  return json.length;
}

/** A member of an object, as offsets in its text. */
interface Member {
  readonly name: string;
  /** Of the quote before the name. */
  readonly start: number;
  readonly valueStart: number;
  /** Behind the value. */
  readonly end: number;
}

/** The members of an object in the order of its text, duplicate names included. */
export function* members(json: string): Generator<Member> {
  let at = afterSpace(json, afterSpace(json, 0) + 1);
  while (json.charCodeAt(at) === quote) {
    const nameEnd = endOfString(json, at);
    const name = JSON.parse(json.slice(at, nameEnd)) as string;
    const valueStart = afterSpace(json, afterSpace(json, nameEnd) + 1);
    const end = endOfValue(json, valueStart);
    yield { name, start: at, valueStart, end };
    at = afterSpace(json, afterSpace(json, end) + 1);
  }
}

/**
 * The members of an object with the text of their values, byte for byte; the last one wins for a duplicate name, as in
 * JSON.parse.
 */
export function memberTexts(json: string): Map<string, string> {
  const texts = new Map<string, string>();
  for (const { name, valueStart, end } of members(json)) texts.set(name, json.slice(valueStart, end));
  return texts;
}

/** The texts of an array's elements, byte for byte. */
export function elementTexts(json: string): string[] {
  const elements: string[] = [];
  let at = afterSpace(json, afterSpace(json, 0) + 1);
  while (at < json.length && json.charCodeAt(at) !== closeBracket) {
    const end = endOfValue(json, at);
    elements.push(json.slice(at, end));
    at = afterSpace(json, end);
    if (json.charCodeAt(at) === comma) at = afterSpace(json, at + 1);
  }
  return elements;
}

/** Numbers of at most this many digits survive a round trip through a double. */
const safeDigits = 15;

/** A number's digits and its power of ten, independent of notation. */
function canonical(number: string): string {
  const [mantissa = "", power = "0"] = number.replace(/^-/, "").toLowerCase().split("e");
  const [whole = "", fraction = ""] = mantissa.split(".");
  const digits = (whole + fraction).replace(/^0+/, "");
  const significant = digits.replace(/0+$/, "");
  return significant === "" ? "0" : `${significant}e${Number(power) - fraction.length + digits.length - significant.length}`;
}

/**
 * Whether JavaScript reads a number as it is meant. A fraction below 2^53 may be rounded to another fraction, as in
 * every double. It must not become an integer, which would pass a schema that demands one, and no integer another one.
 */
function isExact(number: string): boolean {
  if (number.length <= safeDigits && !/[eE]/.test(number)) return true;
  const value = Number(number);
  if (!Number.isFinite(value)) return false;
  if (!Number.isInteger(value)) return true;
  return canonical(number) === canonical(String(value));
}

/** A part of JSON text that JavaScript reads differently from how it is written. */
export interface InexactPart {
  /** Names and indexes that lead to it, joined by dots. */
  readonly path: string;
  /** A number beyond the precision of a double, or a duplicate name in an object. */
  readonly fault: "number" | "name";
}

/** The first part of a JSON text that JSON.parse does not read exactly as written; undefined when there is none. */
export function inexactPart(json: string): InexactPart | undefined {
  const way: { readonly names: Set<string> | undefined; at: string | number }[] = [];
  const path = () => way.map(({ at }) => at).join(".");
  let isName = false;
  for (let at = 0; at < json.length; at++) {
    const code = json.charCodeAt(at);
    const inside = way.at(-1);
    if (code === openBrace) {
      way.push({ names: new Set(), at: "" });
      isName = true;
    } else if (code === openBracket) way.push({ names: undefined, at: 0 });
    else if (code === closeBrace || code === closeBracket) way.pop();
    else if (code === comma && inside !== undefined) {
      if (inside.names === undefined) inside.at = Number(inside.at) + 1;
      else isName = true;
    } else if (code === colon) isName = false;
    else if (code === quote) {
      const end = endOfString(json, at);
      if (isName && inside?.names !== undefined) {
        inside.at = JSON.parse(json.slice(at, end)) as string;
        if (inside.names.has(inside.at)) return { path: path(), fault: "name" };
        inside.names.add(inside.at);
      }
      at = end - 1;
    } else if (code === 0x2d || (code >= 0x30 && code <= 0x39)) {
      const start = at;
      while (/[\d.eE+-]/.test(json.charAt(at + 1))) at++;
      if (!isExact(json.slice(start, at + 1))) return { path: path(), fault: "number" };
    }
  }
  return undefined;
}
