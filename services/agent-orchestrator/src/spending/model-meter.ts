import type { Client } from "@connectrpc/connect";
import type { SpendService } from "@turnwright/contract/auth/v1/usage_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { Logger } from "@turnwright/platform/logger";
import type { ModelPrice } from "../model/price.ts";
import { wholeAnswer } from "./answer-bound.ts";
import { CallWatch, sizeOfBody } from "./call-watch.ts";
import type { Charge } from "./charge.ts";
import { openGuardedCall } from "./guarded-call.ts";
import type { MeteredCall, MeteredRequest } from "./metered-call.ts";
import { costMicros } from "./prices.ts";
import type { UsageRecorder } from "./usage-recorder.ts";

/** Records the usage of model calls and keeps keys below their spend ceilings. */
export interface ModelMeter {
  /**
   * Opens a call; synchronous for tokens without a ceiling. Rejects with SPEND_LIMIT when the ceiling is reached or the
   * model has no price.
   */
  open(request: MeteredRequest): MeteredCall | Promise<MeteredCall>;
  /** US dollars; 0 without a price. */
  costUsd(price: ModelPrice | undefined, charge: Charge): number;
}

/** Makes the meter. */
export function createModelMeter(deps: {
  spend: Client<typeof SpendService>;
  recorder: UsageRecorder;
  logger: Logger;
}): ModelMeter {
  const { spend, recorder, logger } = deps;
  return {
    open(request) {
      const { identity, model, body, signal, price } = request;
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
      const { byteLength: bytes } = body;
      const { streamed } = request;
      const watch = new CallWatch({
        bytes,
        streamed,
        model: request.upstream ?? model,
        mostTokens: wholeAnswer,
        size: sizeOfBody(body, price?.image_tokens),
      });
      return {
        body,
        signal,
        witness: watch,
        output: watch.output,
        pay: () => undefined,
        end(usage, isWhole) {
          const charge = watch.charge(usage, isWhole);
          if (charge.requests === 0) return charge;
          recorder.add({
            userId: identity.userId,
            tokenId: identity.tokenId,
            model,
            requests: charge.requests,
            promptTokens: charge.prompt_tokens,
            completionTokens: charge.completion_tokens,
            costMicros: costMicros(price, charge),
            estimatedTokens: charge.estimated_tokens,
            unpricedRequests: price === undefined ? charge.requests : 0,
          });
          return charge;
        },
      };
    },
    costUsd: (price, charge) => costMicros(price, charge) / 1e6,
  };
}
