const highSurrogate = /[\ud800-\udbff]$/;

/**
 * Text that can be stored and sent: in pieces, without halves of characters and without NUL, which become U+FFFD. A
 * half at the end of a piece waits for the other one.
 */
export class CleanText {
  #half = "";

  push(text: string): string {
    let all = this.#half + text;
    this.#half = highSurrogate.exec(all)?.[0] ?? "";
    if (this.#half !== "") all = all.slice(0, -1);
    return cleanText(all);
  }

  /** The rest. */
  end(): string {
    const rest = cleanText(this.#half);
    this.#half = "";
    return rest;
  }
}

/** A whole text without halves of characters and without NUL. */
export function cleanText(text: string): string {
  return text.toWellFormed().replaceAll("\0", "\ufffd");
}
