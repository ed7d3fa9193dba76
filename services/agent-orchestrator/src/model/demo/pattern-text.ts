/** The longest text and the most repetitions made for a pattern, and its deepest nesting. */
const longest = 1_000;
const deepest = 20;

/** Thrown at a part of a pattern for which no text is made. */
class Unknown extends Error {}

const classes: Readonly<Record<string, string>> = { d: "1", w: "a", s: " ", D: "a", W: "-", S: "a" };
const controls: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t", f: "\f", v: "\v", "0": "\0" };
const printable = Array.from({ length: 0x7f - 0x20 }, (_, i) => String.fromCharCode(0x20 + i));

/** Makes a text of a regular expression's own characters: reads it once, from left to right, and never runs it. */
class Reader {
  readonly #pattern: string;
  /** Characters to add where a quantifier allows more than it demands. */
  #extra: number;
  #at = 0;
  #depth = 0;

  constructor(pattern: string, extra: number) {
    this.#pattern = pattern;
    this.#extra = extra;
  }

  whole(): string {
    const text = this.#alternatives();
    if (this.#at < this.#pattern.length) throw new Unknown();
    return text;
  }

  /** The first alternative's text; the others are read only. */
  #alternatives(): string {
    this.#depth += 1;
    if (this.#depth > deepest) throw new Unknown();
    const first = this.#sequence();
    while (this.#take("|")) this.#sequence();
    this.#depth -= 1;
    return first;
  }

  #sequence(): string {
    let text = "";
    while (this.#at < this.#pattern.length && !"|)".includes(this.#next())) {
      text += this.#repeated(this.#atom());
      if (text.length > longest) throw new Unknown();
    }
    return text;
  }

  #next(): string {
    return String.fromCodePoint(this.#pattern.codePointAt(this.#at) ?? 0);
  }

  #take(text: string): boolean {
    if (!this.#pattern.startsWith(text, this.#at)) return false;
    this.#at += text.length;
    return true;
  }

  #read(): string {
    if (this.#at >= this.#pattern.length) throw new Unknown();
    const character = this.#next();
    this.#at += character.length;
    return character;
  }

  #atom(): string {
    const character = this.#read();
    switch (character) {
      case "^":
      case "$":
        return "";
      case ".":
        return "a";
      case "[":
        return this.#set();
      case "(":
        return this.#group();
      case "\\":
        return this.#escaped();
      default:
        return character;
    }
  }

  #group(): string {
    if (this.#take("?")) {
      const isNamed = /^<[A-Za-z_]\w*>/.exec(this.#pattern.slice(this.#at, this.#at + 64));
      if (isNamed !== null) this.#at += isNamed[0].length;
      else if (!this.#take(":")) throw new Unknown();
    }
    const text = this.#alternatives();
    if (!this.#take(")")) throw new Unknown();
    return text;
  }

  #escaped(): string {
    const character = this.#read();
    if (character in classes) return classes[character] as string;
    if (character in controls) return controls[character] as string;
    if (character === "x" || character === "u") {
      const code = new RegExp(character === "x" ? "^[0-9a-f]{2}" : "^[0-9a-f]{4}", "i").exec(this.#pattern.slice(this.#at));
      if (code === null) throw new Unknown();
      this.#at += code[0].length;
      return String.fromCharCode(Number.parseInt(code[0], 16));
    }
    // Word boundaries, references and properties of characters.
    if (/[A-Za-z1-9]/.test(character)) throw new Unknown();
    return character;
  }

  /** A character of a set: its first one, or the first printable one that it does not exclude. */
  #set(): string {
    const isNegated = this.#take("^");
    const from = this.#at;
    const members: { first: string; last: string }[] = [];
    while (!this.#take("]")) {
      const first = this.#take("\\") ? this.#escaped() : this.#read();
      const isRange = this.#pattern[this.#at] === "-" && this.#pattern[this.#at + 1] !== "]";
      if (isRange) this.#at += 1;
      const last = isRange ? (this.#take("\\") ? this.#escaped() : this.#read()) : first;
      members.push({ first, last });
    }
    if (!isNegated) {
      if (members[0] === undefined) throw new Unknown();
      return members[0].first;
    }
    if (/\\[dws]/i.test(this.#pattern.slice(from, this.#at))) throw new Unknown();
    const free = printable.find((one) => !members.some(({ first, last }) => one >= first && one <= last));
    if (free === undefined) throw new Unknown();
    return free;
  }

  /** The text as often as its quantifier demands, and more often while characters are missing. */
  #repeated(text: string): string {
    const counted = /^(?:[*+?]|\{(\d{1,4})(,?)(\d{0,9})\})/.exec(this.#pattern.slice(this.#at, this.#at + 20));
    if (counted === null) return text;
    const [quantifier, given, comma, end] = counted;
    this.#at += quantifier.length;
    this.#take("?");
    const least = given === undefined ? (quantifier === "+" ? 1 : 0) : Number(given);
    const isOpen = quantifier === "*" || quantifier === "+" || (comma === "," && end === "");
    const most = isOpen ? longest : quantifier === "?" ? 1 : Number(end || given);
    const more = text === "" ? 0 : Math.max(0, Math.min(Math.ceil(this.#extra / text.length), most - least));
    this.#extra -= more * text.length;
    if (text.length * (least + more) > longest) throw new Unknown();
    return text.repeat(least + more);
  }
}

/**
 * A text of at least `least` characters that matches a regular expression; undefined when its form is not known here,
 * such as assertions and references. The expression is not run: it comes from a client, and some expressions take
 * hours.
 */
export function textMatching(pattern: string, least = 0): string | undefined {
  if (pattern.length > longest || least > longest) return undefined;
  try {
    const text = new Reader(pattern, 0).whole();
    return text.length >= least ? text : new Reader(pattern, least - text.length).whole();
  } catch (error) {
    if (error instanceof Unknown) return undefined;
    throw error;
  }
}
