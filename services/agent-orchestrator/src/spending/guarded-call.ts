import { setTimeout as delay } from "node:timers/promises";
import type { Client } from "@connectrpc/connect";
import type { SpendService } from "@turnwright/contract/auth/v1/usage_service";
import { ErrorReason, fail, reasonOf } from "@turnwright/platform/errors";
import type { Logger } from "@turnwright/platform/logger";
import type { ModelUsage } from "../model/chunk.ts";
import type { MeteredCall, MeteredRequest } from "./model-meter.ts";
import { costMicros, type ModelPrice } from "./prices.ts";
import { StreamCount } from "./stream-count.ts";

/** Bytes of a request that are taken for a token: fewer than they are, so that the estimate is no less than the truth. */
const bytesPerToken = 3;
/** Tokens of an answer that are paid for at a time. */
const streamedStep = 1_000;
/** Tokens of an answer that comes as a whole, unless its request bounds it. */
const wholeAnswer = 4_096;
/** A reservation that nobody settles counts as spent after this time. */
const ttlSeconds = 3_600;
const settleTries = 4;

/** Names the field by which newer models of OpenAI bound their answers; everybody else knows the older one. */
function boundField(model: string): "max_tokens" | "max_completion_tokens" {
  return /^(?:o\d|gpt-5)/.test(model) ? "max_completion_tokens" : "max_tokens";
}

interface BoundedBody {
  max_tokens?: number | null;
  max_completion_tokens?: number | null;
  n?: number | null;
}

/**
 * Opens a call of a key with a ceiling: money is set aside before the model is asked, more as a stream goes on, and what was used takes its place in the
 * end. A stream that nobody can pay for any more is cut; an answer that comes as a whole is bounded to what is paid for.
 */
export async function openGuardedCall(
  deps: { spend: Client<typeof SpendService>; logger: Logger; price: ModelPrice },
  request: MeteredRequest,
): Promise<MeteredCall> {
  const { spend, price, logger } = deps;
  const { identity, model, streamed } = request;
  const reservationId = crypto.randomUUID();
  const promptTokens = Math.ceil(request.body.byteLength / bytesPerToken);
  const promptMicros = promptTokens * price.input;
  const body = JSON.parse(Buffer.from(request.body).toString("utf8")) as BoundedBody;
  const answers = Math.max(1, body.n ?? 1);
  const asked = body.max_completion_tokens ?? body.max_tokens ?? undefined;
  const tokens = (streamed ? Math.min(asked ?? streamedStep, streamedStep) : (asked ?? wholeAnswer)) * answers;

  const reserve = async (micros: number): Promise<number> => {
    const amountMicros = BigInt(Math.max(1, Math.ceil(micros)));
    const { headers } = request.options;
    // Not bound to the caller's signal: what was set aside must be known here, so that it can be settled.
    const answer = await spend.reserveSpend({ reservationId, amountMicros, ttlSeconds }, { headers, timeoutMs: 5_000 });
    return Number(answer.grantedMicros);
  };

  const settle = (used: { prompt_tokens: number; completion_tokens: number }, requests: number) => {
    const usage = {
      userId: identity.userId,
      tokenId: identity.tokenId,
      model,
      requests: BigInt(requests),
      promptTokens: BigInt(used.prompt_tokens),
      completionTokens: BigInt(used.completion_tokens),
      costMicros: BigInt(costMicros(price, used)),
    };
    const attempt = async () => {
      for (let tries = 1; ; tries++) {
        try {
          await spend.settleSpend({ reservationId, usage }, { timeoutMs: 5_000 });
          return;
        } catch (error) {
          if (tries >= settleTries) throw error;
          await delay(250 * 2 ** tries);
        }
      }
    };
    attempt().catch((error: unknown) => logger.error({ err: error }, "a reservation was not settled: it counts as spent"));
  };

  let granted = await reserve(promptMicros + tokens * price.output);
  if (granted < promptMicros + price.output) {
    settle({ prompt_tokens: 0, completion_tokens: 0 }, 0);
    throw fail(ErrorReason.SPEND_LIMIT, "What is left of this key's spend ceiling does not pay for this request.");
  }

  const payable = () => (price.output === 0 ? Number.POSITIVE_INFINITY : Math.floor((granted - promptMicros) / price.output));
  const controller = new AbortController();
  const signal = AbortSignal.any([request.signal, controller.signal]);
  const count = new StreamCount();
  let more: Promise<void> | undefined;
  const extend = (): Promise<void> => {
    more ??= reserve(streamedStep * answers * price.output)
      .then(
        (added) => {
          granted += added;
        },
        (error: unknown) => {
          // Nothing left; other failures are tried again with the next piece.
          if (reasonOf(error) !== ErrorReason.SPEND_LIMIT) logger.warn({ err: error }, "a reservation could not grow");
        },
      )
      .finally(() => {
        more = undefined;
      });
    return more;
  };

  return {
    body: streamed ? request.body : boundedBody(body, model, Math.floor(Math.min(payable(), tokens) / answers)),
    signal,
    async *watch(pieces) {
      try {
        for await (const piece of pieces) {
          count.push(piece);
          if (count.tokens > payable() * 0.6) void extend();
          if (count.tokens > payable()) {
            await extend();
            if (count.tokens > payable()) throw fail(ErrorReason.SPEND_LIMIT, "The spend ceiling of this key is reached.");
          }
          yield piece;
        }
      } catch (error) {
        // Leaving the loop does not end the model's answer, for which somebody pays.
        controller.abort();
        throw error;
      }
    },
    end(usage: ModelUsage | undefined) {
      const hasUsage = usage !== undefined && usage.prompt_tokens + usage.completion_tokens > 0;
      const isUntouched = !hasUsage && count.tokens === 0;
      const used = hasUsage ? usage : { prompt_tokens: isUntouched ? 0 : promptTokens, completion_tokens: count.tokens };
      // A reservation that is growing just now must be settled after it has.
      void (more ?? Promise.resolve()).then(() => settle(used, isUntouched ? 0 : 1));
    },
  };
}

function boundedBody(body: BoundedBody, model: string, tokens: number): Uint8Array {
  const field =
    body.max_completion_tokens != null ? "max_completion_tokens" : body.max_tokens != null ? "max_tokens" : boundField(model);
  return Buffer.from(JSON.stringify({ ...body, [field]: Math.max(1, tokens) }));
}
