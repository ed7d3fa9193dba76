/** An event of a stream. */
export interface StreamEvent {
  /** Its `id:` line; empty when it has none. */
  readonly id: string;
  readonly data: string;
}

/**
 * Splits the text of an event stream into events. Comments count as signs of life alone. Text comes in pieces of any
 * size; a line that has not ended waits for the next piece.
 */
export class SseParser {
  /** Pieces of a line that has not ended. */
  #rest: string[] = [];
  #id = "";
  #data: string[] = [];
  #isFirst = true;

  /** The events that a piece of text completes. */
  push(given: string): StreamEvent[] {
    const piece = this.#isFirst && given.startsWith("\ufeff") ? given.slice(1) : given;
    if (given !== "") this.#isFirst = false;
    const endsOpen = this.#rest.at(-1)?.endsWith("\r") ?? false;
    // A long line comes in many pieces: each is looked at once.
    if (!endsOpen && !/[\r\n]/.test(piece)) {
      if (piece !== "") this.#rest.push(piece);
      return [];
    }
    const text = this.#rest.join("") + piece;
    const events: StreamEvent[] = [];
    let start = 0;
    for (const { index, 0: end } of text.matchAll(/\r\n|\n|\r(?!$)/g)) {
      this.#take(text.slice(start, index), events);
      start = index + end.length;
    }
    this.#rest = start === text.length ? [] : [text.slice(start)];
    return events;
  }

  #take(line: string, events: StreamEvent[]): void {
    if (line === "") {
      if (this.#data.length > 0) events.push({ id: this.#id, data: this.#data.join("\n") });
      this.#id = "";
      this.#data = [];
      return;
    }
    if (line.startsWith(":")) return;
    const colon = line.indexOf(":");
    const field = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? "" : line.slice(colon + (line[colon + 1] === " " ? 2 : 1));
    if (field === "data") this.#data.push(value);
    else if (field === "id" && !value.includes("\0")) this.#id = value;
  }
}
