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
  #rest = "";
  #id = "";
  #data: string[] = [];
  #isFirst = true;

  /** The events that a piece of text completes. */
  push(piece: string): StreamEvent[] {
    let text = this.#rest + piece;
    if (this.#isFirst && text !== "") {
      if (text.startsWith("\ufeff")) text = text.slice(1);
      this.#isFirst = false;
    }
    const events: StreamEvent[] = [];
    let start = 0;
    for (;;) {
      const end = text.slice(start).search(/\r\n|\n|\r(?!$)/);
      if (end === -1) break;
      const line = text.slice(start, start + end);
      start += end + (text.startsWith("\r\n", start + end) ? 2 : 1);
      this.#take(line, events);
    }
    this.#rest = text.slice(start);
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
