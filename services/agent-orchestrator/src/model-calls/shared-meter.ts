import type { MeteredCall, MeteredRequest } from "../spending/metered-call.ts";
import type { ModelMeter } from "../spending/model-meter.ts";
import type { Release, Shares } from "./shares.ts";
import { pieceBytes, StreamTurns } from "./stream-turns.ts";

/** The provider of models that are not configured one by one. */
export const onlyProvider = "default";

/** Waits for both, without a promise where there is nothing to wait for. */
function both(first: Promise<void> | undefined, second: Promise<void> | undefined): Promise<void> | undefined {
  return first === undefined || second === undefined ? (first ?? second) : first.then(() => second);
}

/** The call, which gives its connection back when it ends, and whose pieces take turns with those of other users. */
function holding(call: MeteredCall, release: Release, turn: (bytes: number) => Promise<void> | undefined): MeteredCall {
  return {
    ...call,
    pay: () => both(call.pay(), turn(pieceBytes)),
    turn,
    end(usage, isWhole) {
      try {
        return call.end(usage, isWhole);
      } finally {
        release();
      }
    },
  };
}

/**
 * A meter whose calls hold one of their provider's connections from `open` to `end`. A call waits for its connection
 * before any money is reserved for it; `open` then also rejects as `Shares.take` does.
 */
export function createSharedMeter(meter: ModelMeter, shares: Shares): ModelMeter {
  const turns = new StreamTurns();
  const openWith = (release: Release, request: MeteredRequest): MeteredCall | Promise<MeteredCall> => {
    let opened: MeteredCall | Promise<MeteredCall>;
    try {
      opened = meter.open(request);
    } catch (error) {
      release();
      throw error;
    }
    const { userId } = request.identity;
    const turn = (bytes: number) => turns.take(userId, bytes);
    if (!(opened instanceof Promise)) return holding(opened, release, turn);
    return opened.then(
      (call) => holding(call, release, turn),
      (error: unknown) => {
        release();
        throw error;
      },
    );
  };
  return {
    open(request) {
      const { identity, model, body, signal, provider = onlyProvider } = request;
      const taken = shares.take({ provider, userId: identity.userId, model, bytes: body.byteLength, signal });
      return taken instanceof Promise ? taken.then((release) => openWith(release, request)) : openWith(taken, request);
    },
    costUsd: (model, usage) => meter.costUsd(model, usage),
  };
}
