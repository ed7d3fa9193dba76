import type { CallOptions } from "@connectrpc/connect";
import type { Identity } from "@turnwright/contract/auth/v1/identity";
import type { FailureLog } from "@turnwright/platform/failure-log";
import type { Logger } from "@turnwright/platform/logger";
import type { ModelUsage } from "../model/edge/chunk.ts";
import type { CheckedCompletion } from "../model/edge/completion.ts";
import { readCompletion } from "../model/edge/completion.ts";
import type { OutputCount } from "../model/edge/output-count.ts";
import { rewriteBody } from "../model/routes/rewrite-body.ts";
import type { ModelRoutes, Target } from "../model/routes/route.ts";
import type { Charge } from "../spending/charge.ts";
import type { MeteredCall } from "../spending/metered-call.ts";
import type { ModelMeter } from "../spending/model-meter.ts";
import { Attempts } from "./attempts.ts";
import type { FailedAttempt } from "./failed-attempt.ts";

/** An endpoint that a call may be sent to, as far as requests depend on it. */
export interface CallTarget {
  /** Name of the provider. */
  readonly provider: string;
  /** The provider's name of the model; unset: its public name. */
  readonly upstream?: string;
  /** Tokens of the model's window, where they are configured. */
  readonly window?: number;
}

/** A model call, as completions and the graph make it. */
export interface ModelCall {
  readonly identity: Identity;
  /** For calls to other services in the identity's name. */
  readonly options: CallOptions;
  readonly signal: AbortSignal;
  /** Public name of the model. The caller has checked that the identity may use it. */
  readonly model: string;
  /** The request in OpenAI's format, as JSON text in UTF-8. */
  readonly body: Uint8Array;
  /** The request for an endpoint in place of `body`; called for each one before the request is sent to it. */
  readonly bodyFor?: (target: CallTarget) => Uint8Array;
  /** The run that makes the call, for the log; unset: a completion without a run. */
  readonly run?: { readonly runId: string; readonly conversationId: string };
  /**
   * Told about each failed attempt that another one follows, before that one begins. Given by callers that can take
   * back the outputs of a failed attempt; without it, a call that has yielded an output is not made again.
   */
  readonly onFailedAttempt?: (failed: FailedAttempt) => Promise<void>;
}

/** Reads a streamed answer. `Out` is the result of a piece for the caller. */
export interface AnswerSink<Out> {
  /**
   * Takes a piece. `out` comes from the events before a failure; `isDone`: the answer is complete, whatever else the
   * endpoint may send.
   */
  push(piece: Buffer): { readonly out?: Out; readonly failure?: unknown; readonly isDone?: boolean };
  /** The rest at the end of the stream. `failure`: MODEL_FAILED, when the stream ended before its answer did. */
  end(): { readonly out?: Out; readonly failure?: unknown };
  /** The endpoint's counts so far. */
  readonly usage: ModelUsage | undefined;
}

/** An attempt of a model call that has ended, however it ended. */
export interface EndedCall {
  /** Public name of the model that was called: the named one, or one of its fallbacks. */
  readonly model: string;
  /** Name of the provider. Its own fields of an answer may be sent back to it, and to no other provider. */
  readonly provider: string;
  readonly charge: Charge;
  /** US dollars; 0 for a model without a price. */
  readonly costUsd: number;
  /** Whether the model has a price. */
  readonly isPriced: boolean;
}

/** Makes model calls: routed, metered and within the caller's limits. */
export interface ModelCalls {
  /** An endpoint that calls of a model are sent to first. Throws MODEL_NOT_FOUND. */
  firstTarget(model: string): CallTarget;
  /**
   * An answer in one piece. Throws the reasons of `ModelClient`, and MODEL_NOT_FOUND for a name without a route.
   * `onEnd` is called for each attempt.
   */
  complete(call: ModelCall, onEnd?: (ended: EndedCall) => void): Promise<CheckedCompletion>;
  /**
   * A streamed answer: yields the outputs of a sink; an output without length tells the caller nothing. Each attempt
   * has a sink of its own. Throws as `complete` does.
   */
  stream<Out extends { readonly length: number }>(
    call: ModelCall,
    makeSink: (output: OutputCount) => AnswerSink<Out>,
    onEnd?: (ended: EndedCall) => void,
  ): AsyncGenerator<Out>;
}

/** The most outputs without text that are held back while another target could still take over. */
const maxHeld = 64;

/** Makes the calls of a process. */
export function createModelCalls(deps: {
  readonly routes: ModelRoutes;
  readonly meter: ModelMeter;
  readonly logger: Logger;
  readonly failures: FailureLog;
}): ModelCalls {
  const { meter } = deps;

  /** Opens an attempt at a target; synchronous where the meter is. */
  const open = (call: ModelCall, target: Target, streamed: boolean): MeteredCall | Promise<MeteredCall> => {
    const { provider, model, upstream, price, maxOutput } = target;
    const { identity, options, signal } = call;
    const body = call.bodyFor?.(target) ?? call.body;
    return meter.open({ identity, options, signal, body, provider, model, upstream, price, maxOutput, streamed });
  };
  const wireBody = ({ rewrite }: Target, { body }: MeteredCall) => (rewrite === undefined ? body : rewriteBody(body, rewrite));
  /** Charges an attempt and tells the caller. */
  const end = (
    { model, provider, price }: Target,
    metered: MeteredCall,
    got: { readonly usage: ModelUsage | undefined; readonly isWhole: boolean },
    onEnd?: (ended: EndedCall) => void,
  ): void => {
    const charge = metered.end(got.usage, got.isWhole);
    onEnd?.({ model, provider, charge, costUsd: meter.costUsd(price, charge), isPriced: price !== undefined });
  };

  return {
    // A model has at least one target.
    firstTarget: (model) => deps.routes.resolve(model)[0] as Target,

    async complete(call, onEnd) {
      const attempts = new Attempts(call, deps);
      try {
        for (let attempt = attempts.next(); ; ) {
          const { target, admission } = attempt;
          let metered: MeteredCall | undefined;
          let usage: ModelUsage | undefined;
          let failed: { readonly error: unknown };
          let isWhole = false;
          let hasAnswered = false;
          try {
            const opened = open(call, target, false);
            metered = opened instanceof Promise ? await opened : opened;
            const { signal, witness, output } = metered;
            const bytes = await target.client.complete(wireBody(target, metered), signal, witness, attempts);
            hasAnswered = true;
            const turn = metered.turn?.(bytes.length);
            if (turn !== undefined) await turn;
            const completion = readCompletion(bytes);
            usage = completion.usage;
            output.choices(completion.json.choices);
            isWhole = true;
            admission.succeeded();
            return completion;
          } catch (error) {
            failed = { error };
            // Nothing was sent.
            if (metered === undefined) admission.dropped();
          } finally {
            if (metered !== undefined) end(target, metered, { usage, isWhole }, onEnd);
          }
          attempt = await attempts.failed(attempt, failed.error, { isShown: false, hasAnswered });
        }
      } finally {
        attempts.close();
      }
    },

    async *stream<Out extends { readonly length: number }>(
      call: ModelCall,
      makeSink: (output: OutputCount) => AnswerSink<Out>,
      onEnd?: (ended: EndedCall) => void,
    ) {
      const attempts = new Attempts(call, deps);
      const canTakeBack = call.onFailedAttempt !== undefined;
      try {
        for (let attempt = attempts.next(); ; ) {
          const { target, admission } = attempt;
          let metered: MeteredCall | undefined;
          let failed: { readonly error: unknown } | undefined;
          let usage = (): ModelUsage | undefined => undefined;
          let isWhole = false;
          let isShown = false;
          let hasAnswered = false;
          try {
            const opened = open(call, target, true);
            metered = opened instanceof Promise ? await opened : opened;
            const { signal, witness, output } = metered;
            const sink = makeSink(output);
            usage = () => sink.usage;
            // Outputs before the first text, such as the role of the answer: another target would send them again.
            let held: Out[] | undefined = !canTakeBack && attempts.mayFollow() ? [] : undefined;
            for await (const piece of await target.client.stream(wireBody(target, metered), signal, witness, attempts)) {
              const { out, failure, isDone } = sink.push(piece);
              if (!hasAnswered) {
                hasAnswered = true;
                admission.began();
              }
              const paying = metered.pay();
              if (paying !== undefined) await paying;
              if (failure !== undefined && !isShown && attempts.mayFollow(failure)) throw failure;
              if (out !== undefined && out.length > 0) {
                if (held !== undefined && output.tokens === 0 && held.length < maxHeld) held.push(out);
                else {
                  for (const earlier of held ?? []) yield earlier;
                  held = undefined;
                  isShown = true;
                  yield out;
                }
              }
              if (failure !== undefined) throw failure;
              if (isDone) break;
            }
            const { out: rest, failure } = sink.end();
            if (failure !== undefined && !isShown && attempts.mayFollow(failure)) throw failure;
            for (const earlier of held ?? []) yield earlier;
            if (rest !== undefined && rest.length > 0) {
              isShown = true;
              yield rest;
            }
            if (failure !== undefined) throw failure;
            isWhole = true;
            admission.succeeded();
            return;
          } catch (error) {
            failed = { error };
            // Nothing was sent.
            if (metered === undefined) admission.dropped();
          } finally {
            if (metered !== undefined) end(target, metered, { usage: usage(), isWhole }, onEnd);
            // The reader has left.
            if (failed === undefined) admission.dropped();
          }
          attempt = await attempts.failed(attempt, failed.error, { isShown, hasAnswered });
        }
      } finally {
        attempts.close();
      }
    },
  };
}
