import type { ModelUsage } from "../model/edge/chunk.ts";
import { OutputCount } from "../model/edge/output-count.ts";
import type { CallWitness } from "../model/model-client.ts";
import { type Charge, chargeOf } from "./charge.ts";
import { type PromptSize, promptSize, type SizedBody } from "./prompt-size.ts";

/** Tokens per second that a model may write without showing them. */
const unseenTokensPerSecond = 100;

/**
 * Whether a model reasons without showing it, for any length of time; known by the names that OpenAI gives such models.
 */
export function thinksUnseen(model: string): boolean {
  return /^(?:o\d|gpt-5)/.test(model);
}

/** The facts about a call that are known before it is sent. */
export interface WatchedCall {
  readonly bytes: number;
  readonly streamed: boolean;
  readonly model: string;
  /** The most tokens that the answer may have. */
  readonly mostTokens: number;
  size(): PromptSize;
}

/** Follows one model call and computes its charge at the end. */
export class CallWatch implements CallWitness {
  readonly output = new OutputCount();
  readonly #call: WatchedCall;
  readonly #mayRepeat: () => Promise<void>;
  #tries = 0;
  #sentAt: number | undefined;
  #bytes = 0;

  constructor(call: WatchedCall, mayRepeat: () => Promise<void> = async () => {}) {
    this.#call = call;
    this.#mayRepeat = mayRepeat;
  }

  onSent(): void {
    this.#tries += 1;
    this.#sentAt ??= performance.now();
  }

  onRefused(): void {
    this.#tries -= 1;
    if (this.#tries === 0) this.#sentAt = undefined;
  }

  onBytes(bytes: number): void {
    this.#bytes += bytes;
  }

  mayRepeat(): Promise<void> {
    return this.#mayRepeat();
  }

  /** The charge. `isWhole`: the answer came to its end and all of it was counted. */
  charge(usage: ModelUsage | undefined, isWhole: boolean): Charge {
    const { output } = this;
    if (!isWhole && output.tokens === 0) output.unread(this.#bytes);
    const call = this.#call;
    const facts = { tries: this.#tries, output, isWhole, usage, unseenTokens: this.#unseenTokens() };
    return chargeOf(facts, call.bytes, () => call.size());
  }

  #unseenTokens(): number {
    const { streamed, model, mostTokens } = this.#call;
    if (this.#sentAt === undefined || (streamed && !thinksUnseen(model))) return 0;
    const seconds = (performance.now() - this.#sentAt) / 1_000;
    return Math.min(mostTokens, Math.ceil(seconds * unseenTokensPerSecond));
  }
}

const otherParts = ["image_url", "input_audio"];

/**
 * The size of a request's body, measured once, when it is first needed. Only a body with more than text has to be
 * parsed.
 */
export function sizeOfBody(bytes: Uint8Array, imageTokens: number | undefined): () => PromptSize {
  let size: PromptSize | undefined;
  return () => {
    if (size !== undefined) return size;
    const body = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const isText = otherParts.every((part) => !body.includes(part));
    size = promptSize(body.byteLength, isText ? {} : (JSON.parse(body.toString("utf8")) as SizedBody), imageTokens);
    return size;
  };
}
