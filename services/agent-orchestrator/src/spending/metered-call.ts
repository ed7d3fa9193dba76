import type { CallOptions } from "@connectrpc/connect";
import type { Identity } from "@turnwright/contract/auth/v1/identity";
import type { ModelUsage } from "../model/chunk.ts";
import type { CallWitness } from "../model/model-client.ts";
import type { OutputCount } from "../model/output-count.ts";
import type { Charge } from "./charge.ts";

/** A model call that is about to be made. */
export interface MeteredRequest {
  readonly identity: Identity;
  /** For the calls to auth on its behalf. */
  readonly options: CallOptions;
  readonly signal: AbortSignal;
  /** Name of the model. */
  readonly model: string;
  /** What is sent to it. */
  readonly body: Uint8Array;
  readonly streamed: boolean;
}

/** A model call with its money. */
export interface MeteredCall {
  /** What to send: with a bound on the answer where only that holds the ceiling. */
  readonly body: Uint8Array;
  readonly signal: AbortSignal;
  /** To be told what becomes of the call on the wire: a call that no model has worked on costs nothing. */
  readonly witness: CallWitness;
  /** Where whoever reads the answer counts it. */
  readonly output: OutputCount;
  /**
   * To be called when a part of a stream was counted, before it is passed on. Undefined: it is paid for. Rejects with
   * SPEND_LIMIT where the money ends, and the stream with it.
   */
  pay(): Promise<void> | undefined;
  /**
   * How the call ended, to be called once, whatever happened: with what the endpoint counted, and whether the answer
   * came to its end. Gives what is charged.
   */
  end(usage: ModelUsage | undefined, isWhole: boolean): Charge;
}
