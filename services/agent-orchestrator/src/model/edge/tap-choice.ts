import type { CheckedChoice, CheckedChunk } from "./checked-chunk.ts";
import type { ModelToolCall } from "./chunk.ts";
import { clientDelta, saysAnything } from "./client-chunk.ts";
import { clientReason, isCut } from "./finish-reason.ts";
import { ToolCallAssembler } from "./tool-call-assembler.ts";

/** The part of a chunk's choice that is the client's. */
export interface SaidChoice {
  readonly choice: CheckedChoice;
  /** It says something. */
  readonly isSaid: boolean;
  /** The delta in the types of OpenAI's format. */
  readonly delta: () => Readonly<Record<string, unknown>>;
  /** The choice is the client's as the endpoint sent it. */
  readonly isPlain: boolean;
}

/** The chunk that told a finish reason. */
export interface ToldFinish {
  readonly chunk: CheckedChunk;
  readonly choice: CheckedChoice;
  /** Its frame, when that is the client's as it is. */
  readonly frame: string | undefined;
  /** The client got other parts of the chunk before. */
  readonly isSaid: boolean;
}

/** One of the answers of a streamed completion. */
export class TapChoice {
  readonly index: number;
  /** The client has got the role. */
  hasRole: boolean;
  /** The model said something. */
  hasOutput = false;
  readonly #assembler = new ToolCallAssembler();
  #finish: ToldFinish | undefined;

  constructor(index: number, hasRole: boolean) {
    this.index = index;
    this.hasRole = hasRole;
  }

  /** The chunk that told a finish reason last. */
  get finish(): ToldFinish | undefined {
    return this.#finish;
  }

  /** Whether there are calls, all of them with whole arguments. */
  get hasWholeCalls(): boolean {
    return !this.#assembler.isEmpty && this.#assembler.isWhole;
  }

  /** The calls; none when the answer was cut. */
  get calls(): ModelToolCall[] {
    return this.#isCut ? [] : this.#assembler.calls;
  }

  /** The extra fields of `calls`. */
  get callFields(): readonly (Record<string, unknown> | undefined)[] {
    return this.#isCut ? [] : this.#assembler.fields;
  }

  /**
   * The finish reason for the client: the endpoint's word, unless the calls say otherwise; empty while there is none.
   * `withCalls`: the calls are the client's.
   */
  reason(withCalls: boolean): string {
    if (this.#finish === undefined && !this.hasOutput) return "";
    return clientReason(this.#finish?.choice.finishReason ?? "", withCalls && !this.#assembler.isEmpty);
  }

  /** Reads a choice of a chunk. `frame`: the chunk's frame, when a client may get it as it is. */
  read(chunk: CheckedChunk, choice: CheckedChoice, frame: string | undefined, withCalls: boolean): SaidChoice {
    const placed = choice.calls.length === 0 ? [] : this.#assembler.add(choice.calls);
    const shown = withCalls ? placed : [];
    const says = saysAnything(choice) || shown.length > 0;
    if (says || placed.length > 0) this.hasOutput = true;
    const withRole = !this.hasRole && (says || choice.message.role !== undefined);
    const isSaid = says || withRole;
    if (choice.finishReason !== "") {
      const isAlone = chunk.choices.length === 1 && !isSaid && !choice.isMessage && choice.calls.length === 0;
      this.#finish = { chunk, choice, frame: isAlone && choice.message.role === undefined ? frame : undefined, isSaid };
    }
    if (isSaid) this.hasRole = true;
    const isPlain =
      isSaid &&
      frame !== undefined &&
      !choice.isMessage &&
      choice.finishReason === "" &&
      choice.message.role === (withRole ? "assistant" : undefined) &&
      shown.length === choice.calls.length &&
      shown.every((piece) => piece.isPlain);
    return { choice, isSaid, delta: () => clientDelta(choice, withRole, shown), isPlain };
  }

  get #isCut(): boolean {
    return this.#finish !== undefined && isCut(this.#finish.choice.finishReason);
  }
}
