import type { CallOptions } from "@connectrpc/connect";
import type { Identity } from "@turnwright/contract/auth/v1/identity";
import type { ModelUsage } from "../model/edge/chunk.ts";
import type { OutputCount } from "../model/edge/output-count.ts";
import type { CallWitness } from "../model/model-client.ts";
import type { ModelPrice } from "../model/price.ts";
import type { Charge } from "./charge.ts";

/** A model call that is about to be made. */
export interface MeteredRequest {
  readonly identity: Identity;
  /** For calls to auth in the identity's name. */
  readonly options: CallOptions;
  readonly signal: AbortSignal;
  /** Public name of the model. */
  readonly model: string;
  /** The provider whose connection it takes; unset: the only one. */
  readonly provider?: string;
  /** The endpoint's name of the model; unset: the public name. */
  readonly upstream?: string;
  /** Unset: without a price. */
  readonly price?: ModelPrice;
  /** The most tokens of an answer; unset: unknown. */
  readonly maxOutput?: number;
  /** The request body. */
  readonly body: Uint8Array;
  readonly streamed: boolean;
}

/** A model call whose usage is metered. */
export interface MeteredCall {
  /** The body to send, with a bound on the answer where only a bound can keep the ceiling. */
  readonly body: Uint8Array;
  readonly signal: AbortSignal;
  /** Must be told about the call's fate on the wire: a call that no model has worked on costs nothing. */
  readonly witness: CallWitness;
  /** The reader of the answer counts it here. */
  readonly output: OutputCount;
  /**
   * Must be called when a piece of a stream was counted, before it is passed on. Returns undefined when the piece is
   * paid for. Rejects with SPEND_LIMIT when the ceiling is reached, and the stream ends.
   */
  pay(): Promise<void> | undefined;
  /**
   * Must be called with the size of an answer that came in one piece, before it is read. Undefined: it may be read now;
   * else resolves when it may. Absent: it always may.
   */
  turn?(bytes: number): Promise<void> | undefined;
  /**
   * Must be called once when the call has ended, however it ended, with the endpoint's counts and whether the answer
   * came to its end. Returns the charge.
   */
  end(usage: ModelUsage | undefined, isWhole: boolean): Charge;
}
