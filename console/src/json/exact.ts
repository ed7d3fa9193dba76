/**
 * JSON that stays as it was written: numbers keep their digits, strings their escapes, objects the order of their keys.
 */
export type Exact =
  | { readonly kind: "literal"; readonly raw: string }
  | { readonly kind: "number"; readonly raw: string }
  | { readonly kind: "string"; readonly raw: string; readonly value: string }
  | { readonly kind: "array"; readonly items: readonly Exact[] }
  | { readonly kind: "object"; readonly fields: readonly ExactField[] };

/** A field of an object. */
export interface ExactField {
  readonly name: string;
  readonly value: Exact;
}

const maxDepth = 200;
const numberShape = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON forbids them in strings.
const stringShape = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const literalShape = /true|false|null/y;
const spaceShape = /[ \t\n\r]*/y;

/** Whether a text is a JSON number. */
export function isNumberText(text: string): boolean {
  numberShape.lastIndex = 0;
  return numberShape.exec(text)?.[0] === text;
}

/** A string as JSON. */
export const exactString = (value: string): Exact => ({ kind: "string", raw: JSON.stringify(value), value });
/** A number of these digits. */
export const exactNumber = (raw: string): Exact => ({ kind: "number", raw });
/** `true`, `false` or `null`. */
export const exactLiteral = (raw: "true" | "false" | "null"): Exact => ({ kind: "literal", raw });

class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  whole(): Exact {
    const value = this.#value(0);
    this.#take(spaceShape);
    if (this.#at < this.#text.length) throw this.#fault();
    return value;
  }

  #fault(): SyntaxError {
    return new SyntaxError(`Not JSON at character ${this.#at + 1}.`);
  }

  #take(shape: RegExp): string | undefined {
    shape.lastIndex = this.#at;
    const found = shape.exec(this.#text)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }

  #sign(sign: string): boolean {
    this.#take(spaceShape);
    if (this.#text[this.#at] !== sign) return false;
    this.#at += 1;
    return true;
  }

  #string(): { raw: string; value: string } {
    this.#take(spaceShape);
    const raw = this.#take(stringShape);
    if (raw === undefined) throw this.#fault();
    return { raw, value: JSON.parse(raw) as string };
  }

  #value(depth: number): Exact {
    if (depth > maxDepth) throw new SyntaxError("JSON of more than 200 levels.");
    this.#take(spaceShape);
    if (this.#sign("{")) return this.#object(depth);
    if (this.#sign("[")) return this.#array(depth);
    if (this.#text[this.#at] === '"') return { kind: "string", ...this.#string() };
    const literal = this.#take(literalShape);
    if (literal !== undefined) return { kind: "literal", raw: literal };
    const number = this.#take(numberShape);
    if (number === undefined) throw this.#fault();
    return { kind: "number", raw: number };
  }

  #object(depth: number): Exact {
    const fields: ExactField[] = [];
    if (this.#sign("}")) return { kind: "object", fields };
    do {
      const { value: name } = this.#string();
      if (!this.#sign(":")) throw this.#fault();
      fields.push({ name, value: this.#value(depth + 1) });
    } while (this.#sign(","));
    if (!this.#sign("}")) throw this.#fault();
    return { kind: "object", fields };
  }

  #array(depth: number): Exact {
    const items: Exact[] = [];
    if (this.#sign("]")) return { kind: "array", items };
    do items.push(this.#value(depth + 1));
    while (this.#sign(","));
    if (!this.#sign("]")) throw this.#fault();
    return { kind: "array", items };
  }
}

/** Reads a JSON text. Throws SyntaxError with the place. */
export function readExact(text: string): Exact {
  return new Reader(text).whole();
}

/** Writes JSON, with the digits and escapes that were read; without white space. */
export function writeExact(value: Exact): string {
  if (value.kind === "array") return `[${value.items.map(writeExact).join(",")}]`;
  if (value.kind !== "object") return value.raw;
  return `{${value.fields.map((field) => `${JSON.stringify(field.name)}:${writeExact(field.value)}`).join(",")}}`;
}

/** Whether two values are the same, digit by digit; the order of keys does not count, nor how a string is escaped. */
export function isSame(a: Exact | undefined, b: Exact | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  if (a.kind === "string" && b.kind === "string") return a.value === b.value;
  if (a.kind === "array" && b.kind === "array") {
    return a.items.length === b.items.length && a.items.every((item, i) => isSame(item, b.items[i]));
  }
  if (a.kind === "object" && b.kind === "object") {
    if (a.fields.length !== b.fields.length) return false;
    return a.fields.every(({ name, value }) => isSame(value, b.fields.find((field) => field.name === name)?.value));
  }
  return a.kind === b.kind && "raw" in a && "raw" in b && a.raw === b.raw;
}
