import type { Client } from "@connectrpc/connect";
import type { SpendService } from "@turnwright/contract/auth/v1/usage_service";
import { retrying } from "@turnwright/platform/async/retrying";
import { ErrorReason, fail, reasonOf } from "@turnwright/platform/errors";
import type { Logger } from "@turnwright/platform/logger";
import type { ModelPrice } from "../model/price.ts";
import { answersOf, type BoundedBody, boundBody, mostTokensOf } from "./answer-bound.ts";
import { CallWatch, thinksUnseen } from "./call-watch.ts";
import type { Charge } from "./charge.ts";
import type { MeteredCall, MeteredRequest } from "./metered-call.ts";
import { costMicros } from "./prices.ts";
import { promptSize } from "./prompt-size.ts";

/** Tokens of a streamed answer that are reserved at a time. */
const streamedStep = 1_000;
/** Seconds after which an unsettled reservation counts as spent. */
const ttlSeconds = 3_600;
const settleAttempts = 4;
/** The fraction of the reserved money after whose use more is reserved while the stream goes on. */
const extendAt = 0.6;

/** Dependencies of guarded calls. */
interface GuardDeps {
  readonly spend: Client<typeof SpendService>;
  readonly logger: Logger;
  readonly price: ModelPrice;
}

/** The reservation of one call at auth. */
class Reservation {
  /** Reserved so far, in millionths of a US dollar. */
  granted = 0;
  readonly #id = crypto.randomUUID();
  readonly #deps: GuardDeps;
  readonly #request: MeteredRequest;
  #growing: Promise<void> | undefined;

  constructor(deps: GuardDeps, request: MeteredRequest) {
    this.#deps = deps;
    this.#request = request;
  }

  /** Reserves this much, or what is left of the ceiling. Throws SPEND_LIMIT when nothing is left. */
  async reserve(micros: number): Promise<void> {
    const amountMicros = BigInt(Math.max(1, Math.ceil(micros)));
    const { headers } = this.#request.options;
    // Without the caller's signal: the granted amount must be known here, so that it can be settled.
    const request = { reservationId: this.#id, amountMicros, ttlSeconds };
    const answer = await this.#deps.spend.reserveSpend(request, { headers, timeoutMs: 5_000 });
    this.granted += Number(answer.grantedMicros);
  }

  /**
   * Reserves more while the answer goes on, one request at a time. Never rejects: a caller sees that nothing was
   * granted.
   */
  grow(micros: number): Promise<void> {
    this.#growing ??= this.reserve(micros)
      .catch((error: unknown) => {
        // SPEND_LIMIT is expected here; after any other failure the next piece tries again.
        if (reasonOf(error) !== ErrorReason.SPEND_LIMIT)
          this.#deps.logger.warn({ err: error }, "a reservation could not be extended");
      })
      .finally(() => {
        this.#growing = undefined;
      });
    return this.#growing;
  }

  /** Replaces the reservation by the charge, in the background. */
  settle(charge: Charge): void {
    const { logger, price } = this.#deps;
    const { identity, model } = this.#request;
    const usage = {
      userId: identity.userId,
      tokenId: identity.tokenId,
      model,
      requests: BigInt(charge.requests),
      promptTokens: BigInt(charge.prompt_tokens),
      completionTokens: BigInt(charge.completion_tokens),
      costMicros: BigInt(costMicros(price, charge)),
      estimatedTokens: BigInt(charge.estimated_tokens),
    };
    const send = async () => {
      // A reservation that is growing right now must be settled afterwards.
      await this.#growing;
      const settled = () => this.#deps.spend.settleSpend({ reservationId: this.#id, usage }, { timeoutMs: 5_000 });
      await retrying(settled, {
        mayPass: (_error, attempts) => attempts < settleAttempts,
        patienceMs: Number.POSITIVE_INFINITY,
        firstMs: 500,
        longestMs: 2_000,
      });
    };
    send().catch((error: unknown) => logger.error({ err: error }, "a reservation was not settled; all of it counts as spent"));
  }
}

function spent() {
  return fail(ErrorReason.SPEND_LIMIT, "The spend ceiling of this key is reached.");
}

/**
 * Opens a call of a key with a spend ceiling. Money is reserved before the call and, for a stream, while it goes on; at
 * the end the charge replaces the reservation. A stream is cut when the key cannot pay for more of it. An answer that
 * is not streamed, or that begins with hidden reasoning, is bounded to the reserved tokens.
 *
 * The reservation covers the largest size that the prompt can have. When less than that is left, all of it is reserved,
 * provided that it covers the prompt's likely size: no other call can then pass the ceiling together with this one.
 */
export async function openGuardedCall(deps: GuardDeps, request: MeteredRequest): Promise<MeteredCall> {
  const { price } = deps;
  const { streamed, upstream: model = request.model, maxOutput = Number.POSITIVE_INFINITY } = request;
  const body = JSON.parse(Buffer.from(request.body).toString("utf8")) as BoundedBody;
  const size = promptSize(request.body.byteLength, body, price.image_tokens);
  const answers = answersOf(body);
  const mostTokens = Math.min(mostTokensOf(body, model), maxOutput) * answers;
  // The wrong parts of a prediction are billed like output.
  const predicted = body.prediction == null ? 0 : Buffer.byteLength(JSON.stringify(body.prediction)) * price.output;
  const isBound = !streamed || thinksUnseen(model);
  const tokens = isBound ? mostTokens : Math.min(mostTokens, streamedStep * answers);

  const reservation = new Reservation(deps, request);
  const most = size.most * price.input + predicted;
  const likely = size.likely * price.input + predicted;
  await reservation.reserve(most + tokens * price.output);
  if (reservation.granted < likely + price.output) {
    reservation.settle(new CallWatch({ streamed, model, bytes: 0, mostTokens, size: () => size }).charge(undefined, false));
    throw fail(ErrorReason.SPEND_LIMIT, "The rest of this key's spend ceiling does not cover this request.");
  }
  let held = reservation.granted < most + tokens * price.output ? likely : most;
  const payable = () => (price.output === 0 ? Number.POSITIVE_INFINITY : Math.floor((reservation.granted - held) / price.output));

  const bytes = request.body.byteLength;
  const watch = new CallWatch({ bytes, streamed, model, mostTokens, size: () => size }, async () => {
    // The previous attempt may have used up the reservation.
    const before = reservation.granted;
    await reservation.reserve(likely);
    if (reservation.granted - before < likely) throw spent();
    held += likely;
  });
  const { output } = watch;
  const controller = new AbortController();

  const growBy = () => Math.max(streamedStep * answers, output.tokens - payable() + streamedStep) * price.output;
  const growOrCut = async () => {
    while (output.tokens > payable()) {
      const before = reservation.granted;
      await reservation.grow(growBy());
      if (reservation.granted > before) continue;
      // Only the abort ends the model's answer, which is billed as long as it goes on.
      controller.abort();
      throw spent();
    }
  };

  return {
    body: isBound ? boundBody(body, model, Math.floor(Math.min(payable(), tokens) / answers)) : request.body,
    signal: AbortSignal.any([request.signal, controller.signal]),
    witness: watch,
    output,
    pay() {
      const paid = payable();
      if (output.tokens > paid) return growOrCut();
      if (output.tokens > paid * extendAt) void reservation.grow(growBy());
      return undefined;
    },
    end(usage, isWhole) {
      const charge = watch.charge(usage, isWhole);
      reservation.settle(charge);
      return charge;
    },
  };
}
