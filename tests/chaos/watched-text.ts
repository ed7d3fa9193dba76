/** A watcher's copy of an answer: pieces by position, so that a reset removes exactly the retracted ones. */
export class WatchedText {
  #pieces: { seq: number; text: string }[] = [];
  /** The id of the newest event. */
  lastEventId = "";

  get text(): string {
    return this.#pieces.map((piece) => piece.text).join("");
  }

  /** Applies an event of a run's stream. */
  take(event: { type: string; delta?: string; event_id?: string; since?: string }): void {
    if (event.event_id !== undefined) this.lastEventId = event.event_id;
    const seq = Number(this.lastEventId.split(".")[0] || 0);
    if (event.type === "content") this.#pieces.push({ seq, text: event.delta ?? "" });
    // The text after entry `since` is streamed again.
    if (event.type === "reset") this.#pieces = this.#pieces.filter((piece) => piece.seq < Number(event.since));
  }
}
