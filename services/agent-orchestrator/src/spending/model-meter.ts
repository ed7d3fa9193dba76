import type { CallOptions, Client } from "@connectrpc/connect";
import type { Identity } from "@turnwright/contract/auth/v1/identity";
import type { SpendService } from "@turnwright/contract/auth/v1/usage_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { Logger } from "@turnwright/platform/logger";
import type { ModelUsage } from "../model/chunk.ts";
import { openGuardedCall } from "./guarded-call.ts";
import { costMicros, type PriceTable } from "./prices.ts";
import type { UsageRecorder } from "./usage-recorder.ts";

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
  /** The stream, cut where the money ends. Throws SPEND_LIMIT then. */
  watch(pieces: AsyncIterable<Buffer>): AsyncIterable<Buffer>;
  /** How the call ended; undefined: without usage. To be called once, whatever happened. */
  end(usage: ModelUsage | undefined): void;
}

/** Records what model calls use, and holds keys with a ceiling to it. */
export interface ModelMeter {
  /**
   * Opens a call; synchronous for tokens without a ceiling. Rejects with SPEND_LIMIT when the money is spent, or when nobody can tell what the model costs.
   */
  open(request: MeteredRequest): MeteredCall | Promise<MeteredCall>;
  /** US dollars; 0 for a model without a price. */
  costUsd(model: string, usage: ModelUsage): number;
}

/** Makes the meter. */
export function createModelMeter(deps: {
  prices: PriceTable;
  spend: Client<typeof SpendService>;
  recorder: UsageRecorder;
  logger: Logger;
}): ModelMeter {
  const { prices, spend, recorder, logger } = deps;
  return {
    open(request) {
      const { identity, model, body, signal } = request;
      const price = prices.get(model);
      if (identity.spendLimitMicros > 0n) {
        if (price === undefined) {
          throw fail(
            ErrorReason.SPEND_LIMIT,
            `The model ${JSON.stringify(model)} has no price here: a key with a spend ceiling may not use it.`,
            { param: "model" },
          );
        }
        return openGuardedCall({ spend, logger, price }, request);
      }
      return {
        body,
        signal,
        watch: (pieces) => pieces,
        end(usage) {
          if (usage === undefined) return;
          recorder.add({
            userId: identity.userId,
            tokenId: identity.tokenId,
            model,
            promptTokens: usage.prompt_tokens,
            completionTokens: usage.completion_tokens,
            costMicros: costMicros(price, usage),
          });
        },
      };
    },
    costUsd: (model, usage) => costMicros(prices.get(model), usage) / 1e6,
  };
}
