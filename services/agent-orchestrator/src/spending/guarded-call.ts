import type { Client } from "@connectrpc/connect";
import type { SpendService } from "@turnwright/contract/auth/v1/usage_service";
import { retrying } from "@turnwright/platform/async/retrying";
import { ErrorReason, fail, reasonOf } from "@turnwright/platform/errors";
import type { Logger } from "@turnwright/platform/logger";
import { answersOf, type BoundedBody, boundBody, mostTokensOf } from "./answer-bound.ts";
import { CallWatch, thinksUnseen } from "./call-watch.ts";
import type { Charge } from "./charge.ts";
import type { MeteredCall, MeteredRequest } from "./metered-call.ts";
import { costMicros, type ModelPrice } from "./prices.ts";
import { promptSize } from "./prompt-size.ts";

/** Tokens of an answer that are paid for at a time. */
const streamedStep = 1_000;
/** A reservation that nobody settles counts as spent after this time. */
const ttlSeconds = 3_600;
const settleAttempts = 4;
/** The part of the money after which more is set aside while the stream goes on. */
const extendAt = 0.6;

/** What guarded calls stand on. */
interface GuardDeps {
  readonly spend: Client<typeof SpendService>;
  readonly logger: Logger;
  readonly price: ModelPrice;
}

/** The money of one call at auth. */
class Reservation {
  /** Millionths of a dollar that are set aside. */
  granted = 0;
  readonly #id = crypto.randomUUID();
  readonly #deps: GuardDeps;
  readonly #request: MeteredRequest;
  #growing: Promise<void> | undefined;

  constructor(deps: GuardDeps, request: MeteredRequest) {
    this.#deps = deps;
    this.#request = request;
  }

  /** Sets money aside, as much as is left. Throws SPEND_LIMIT when nothing is. */
  async reserve(micros: number): Promise<void> {
    const amountMicros = BigInt(Math.max(1, Math.ceil(micros)));
    const { headers } = this.#request.options;
    // Not bound to the caller's signal: what was set aside must be known here, so that it can be settled.
    const request = { reservationId: this.#id, amountMicros, ttlSeconds };
    const answer = await this.#deps.spend.reserveSpend(request, { headers, timeoutMs: 5_000 });
    this.granted += Number(answer.grantedMicros);
  }

  /**
   * Sets more aside while the answer goes on; one at a time. Never rejects: who is not paid for in the end sees that
   * nothing was granted.
   */
  grow(micros: number): Promise<void> {
    this.#growing ??= this.reserve(micros)
      .catch((error: unknown) => {
        // Nothing left; other failures are tried again with the next piece.
        if (reasonOf(error) !== ErrorReason.SPEND_LIMIT) this.#deps.logger.warn({ err: error }, "a reservation could not grow");
      })
      .finally(() => {
        this.#growing = undefined;
      });
    return this.#growing;
  }

  /** Puts a charge in the place of what was set aside, in the background. */
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
    send().catch((error: unknown) => logger.error({ err: error }, "a reservation was not settled: it counts as spent"));
  }
}

function spent() {
  return fail(ErrorReason.SPEND_LIMIT, "The spend ceiling of this key is reached.");
}

/**
 * Opens a call of a key with a ceiling: money is set aside before the model is asked, more as a stream goes on, and
 * what was used takes its place in the end. A stream that nobody can pay for any more is cut; an answer that comes as a
 * whole is bound to what is paid for, and so is one that begins with thoughts that nobody sees.
 *
 * What is set aside pays for the most that the prompt can come to. Where less is left than that, all of it is taken, if
 * it pays for what the prompt probably comes to: nobody else can pass the ceiling together with such a call.
 */
export async function openGuardedCall(deps: GuardDeps, request: MeteredRequest): Promise<MeteredCall> {
  const { price } = deps;
  const { model, streamed } = request;
  const body = JSON.parse(Buffer.from(request.body).toString("utf8")) as BoundedBody;
  const size = promptSize(request.body.byteLength, body, price.image_tokens);
  const answers = answersOf(body);
  const mostTokens = mostTokensOf(body, model) * answers;
  // A prediction is paid for like what the model writes, as far as it is wrong.
  const predicted = body.prediction == null ? 0 : Buffer.byteLength(JSON.stringify(body.prediction)) * price.output;
  const isBound = !streamed || thinksUnseen(model);
  const tokens = isBound ? mostTokens : Math.min(mostTokens, streamedStep * answers);

  const reservation = new Reservation(deps, request);
  const most = size.most * price.input + predicted;
  const likely = size.likely * price.input + predicted;
  await reservation.reserve(most + tokens * price.output);
  if (reservation.granted < likely + price.output) {
    reservation.settle(new CallWatch({ ...request, bytes: 0, mostTokens, size: () => size }).charge(undefined, false));
    throw fail(ErrorReason.SPEND_LIMIT, "What is left of this key's spend ceiling does not pay for this request.");
  }
  let held = reservation.granted < most + tokens * price.output ? likely : most;
  const payable = () => (price.output === 0 ? Number.POSITIVE_INFINITY : Math.floor((reservation.granted - held) / price.output));

  const bytes = request.body.byteLength;
  const watch = new CallWatch({ bytes, streamed, model, mostTokens, size: () => size }, async () => {
    // The try before may have cost what was set aside.
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
      // Leaving the loop does not end the model's answer, for which somebody pays.
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
