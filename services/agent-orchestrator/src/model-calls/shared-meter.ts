import type { MeteredCall, MeteredRequest } from "../spending/metered-call.ts";
import type { ModelMeter } from "../spending/model-meter.ts";
import type { Release, Shares } from "./shares.ts";

/** The provider of models that are not configured one by one. */
export const onlyProvider = "default";

/** The call, which gives its connection back when it ends. */
function holding(call: MeteredCall, release: Release): MeteredCall {
  return {
    ...call,
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
  const openWith = (release: Release, request: MeteredRequest): MeteredCall | Promise<MeteredCall> => {
    let opened: MeteredCall | Promise<MeteredCall>;
    try {
      opened = meter.open(request);
    } catch (error) {
      release();
      throw error;
    }
    if (!(opened instanceof Promise)) return holding(opened, release);
    return opened.then(
      (call) => holding(call, release),
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
