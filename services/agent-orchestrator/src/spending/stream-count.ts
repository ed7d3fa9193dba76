import { type CompletionChunk, parseChunk } from "../model/chunk.ts";
import { FrameSplitter, frameData } from "../model/frame-splitter.ts";

/** Characters that are taken for a token: as they are in English; where they are fewer, the chunks count. */
const charactersPerToken = 4;

/** Estimates the tokens of a streamed completion as it goes by. */
export class StreamCount {
  readonly #splitter = new FrameSplitter();
  #frames = 0;
  #characters = 0;

  /** Tokens so far: one for each chunk with content, or by length, whichever is more. */
  get tokens(): number {
    return Math.max(this.#frames, Math.ceil(this.#characters / charactersPerToken));
  }

  push(piece: Buffer): void {
    for (const frame of this.#splitter.push(piece)) {
      const data = frameData(frame);
      if (data === undefined || data === "" || data === "[DONE]") continue;
      const length = charactersOf(parseChunk(data));
      if (length === 0) continue;
      this.#frames += 1;
      this.#characters += length;
    }
  }
}

function charactersOf(chunk: CompletionChunk): number {
  let length = 0;
  for (const { delta } of chunk.choices ?? []) {
    length += delta?.content?.length ?? 0;
    for (const call of delta?.tool_calls ?? [])
      length += (call.function?.name?.length ?? 0) + (call.function?.arguments?.length ?? 0);
  }
  return length;
}
