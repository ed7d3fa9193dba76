import type { CallOptions } from "@connectrpc/connect";
import type { Identity } from "@turnwright/contract/auth/v1/identity";
import type { ModelUsage } from "../model/edge/chunk.ts";
import type { CheckedCompletion } from "../model/edge/completion.ts";
import { readCompletion } from "../model/edge/completion.ts";
import type { OutputCount } from "../model/edge/output-count.ts";
import type { ModelClient } from "../model/model-client.ts";
import type { Charge } from "../spending/charge.ts";
import type { ModelMeter } from "../spending/model-meter.ts";

/** An endpoint that a call may be sent to, as far as requests depend on it. */
export interface CallTarget {
  /** Name of the provider. */
  readonly provider: string;
  /** Tokens of the model's window, where they are configured. */
  readonly window?: number;
}

/** A model call, as completions and the graph make it. */
export interface ModelCall {
  readonly identity: Identity;
  /** For calls to other services in the identity's name. */
  readonly options: CallOptions;
  readonly signal: AbortSignal;
  /** Public name of the model. */
  readonly model: string;
  /** The request in OpenAI's format, as JSON text in UTF-8. */
  readonly body: Uint8Array;
  /** The request for an endpoint in place of `body`; called for each one before the request is sent to it. */
  readonly bodyFor?: (target: CallTarget) => Uint8Array;
}

/** Reads a streamed answer. `Out` is the result of a piece for the caller. */
export interface AnswerSink<Out> {
  /**
   * Takes a piece. `out` comes from the events before a failure; `isDone`: the answer is complete, whatever else the
   * endpoint may send.
   */
  push(piece: Buffer): { readonly out?: Out; readonly failure?: unknown; readonly isDone?: boolean };
  /** The rest at the end of the stream. Throws MODEL_FAILED when the stream ended before its answer did. */
  end(): Out | undefined;
  /** The endpoint's counts so far. */
  readonly usage: ModelUsage | undefined;
}

/** A model call that has ended, however it ended. */
export interface EndedCall {
  /** Public name of the model that was called. */
  readonly model: string;
  readonly charge: Charge;
  /** US dollars; 0 for a model without a price. */
  readonly costUsd: number;
  /** Name of the provider that was called. */
  readonly provider?: string;
}

/** Makes model calls: routed, metered and within the caller's limits. */
export interface ModelCalls {
  /** The endpoint that calls of a model are sent to first. */
  firstTarget(model: string): CallTarget;
  /** An answer in one piece. Throws the reasons of `ModelClient`. */
  complete(call: ModelCall, onEnd?: (ended: EndedCall) => void): Promise<CheckedCompletion>;
  /** A streamed answer: yields the outputs of a sink. Throws the reasons of `ModelClient`. */
  stream<Out>(
    call: ModelCall,
    makeSink: (output: OutputCount) => AnswerSink<Out>,
    onEnd?: (ended: EndedCall) => void,
  ): AsyncGenerator<Out>;
}

/** Makes the calls of a process. */
export function createModelCalls(deps: { readonly model: ModelClient; readonly meter: ModelMeter }): ModelCalls {
  const { model: client, meter } = deps;
  const ended = (model: string, charge: Charge): EndedCall => ({ model, charge, costUsd: meter.costUsd(model, charge) });

  return {
    firstTarget: () => ({ provider: "default" }),

    async complete(call, onEnd) {
      const { model } = call;
      const opened = meter.open({ ...call, streamed: false });
      const metered = opened instanceof Promise ? await opened : opened;
      let usage: ModelUsage | undefined;
      let isWhole = false;
      try {
        const completion = readCompletion(await client.complete(metered.body, metered.signal, metered.witness));
        usage = completion.usage;
        metered.output.choices(completion.json.choices);
        isWhole = true;
        return completion;
      } finally {
        const charge = metered.end(usage, isWhole);
        onEnd?.(ended(model, charge));
      }
    },

    async *stream(call, makeSink, onEnd) {
      const { model } = call;
      const opened = meter.open({ ...call, streamed: true });
      const metered = opened instanceof Promise ? await opened : opened;
      const sink = makeSink(metered.output);
      let isWhole = false;
      try {
        for await (const piece of await client.stream(metered.body, metered.signal, metered.witness)) {
          const { out, failure, isDone } = sink.push(piece);
          const paying = metered.pay();
          if (paying !== undefined) await paying;
          if (out !== undefined) yield out;
          if (failure !== undefined) throw failure;
          if (isDone) break;
        }
        const rest = sink.end();
        if (rest !== undefined) yield rest;
        isWhole = true;
      } finally {
        const charge = metered.end(sink.usage, isWhole);
        onEnd?.(ended(model, charge));
      }
    },
  };
}
