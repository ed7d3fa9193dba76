import { Breaker } from "./breaker.ts";
import type { BreakerSnapshot } from "./route.ts";

/** The most breakers of one provider: without a models file, clients choose the names of models. */
const maxPerProvider = 1_000;

/** The breakers of a process, one for each model of each provider. They outlive reloads of the models file. */
export class Breakers {
  readonly #byProvider = new Map<string, Map<string, Breaker>>();

  /** The breaker of a model, by the provider's name of it. */
  of(provider: string, model: string): Breaker {
    let breakers = this.#byProvider.get(provider);
    if (breakers === undefined) {
      breakers = new Map();
      this.#byProvider.set(provider, breakers);
    }
    let breaker = breakers.get(model);
    if (breaker === undefined) {
      if (breakers.size >= maxPerProvider) dropOne(breakers);
      breaker = new Breaker();
      breakers.set(model, breaker);
    }
    return breaker;
  }

  /** Those that are open or have counted failures. */
  snapshot(): BreakerSnapshot[] {
    const all: BreakerSnapshot[] = [];
    for (const [provider, breakers] of this.#byProvider) {
      for (const [model, { state, failures, retryInMs }] of breakers) {
        if (state !== "closed" || failures > 0) {
          all.push({ provider, model, state, failures, retryInMs: state === "open" ? Math.ceil(retryInMs) : 0 });
        }
      }
    }
    return all;
  }

  /** Forgets providers that are not among these. */
  keep(providers: ReadonlySet<string>): void {
    for (const name of this.#byProvider.keys()) if (!providers.has(name)) this.#byProvider.delete(name);
  }
}

/** Drops the oldest breaker without failures, else the oldest one. */
function dropOne(breakers: Map<string, Breaker>): void {
  let oldest: string | undefined;
  for (const [model, { state, failures }] of breakers) {
    oldest ??= model;
    if (state === "closed" && failures === 0) {
      oldest = model;
      break;
    }
  }
  if (oldest !== undefined) breakers.delete(oldest);
}
