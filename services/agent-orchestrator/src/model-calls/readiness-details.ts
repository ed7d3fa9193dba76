import type { ModelRoutes } from "../model/routes/route.ts";
import type { Shares } from "./shares.ts";

/** The models that fail and the queues that are not empty, as `/ready` shows them; undefined: none. */
export function readinessDetails(
  routes: Pick<ModelRoutes, "breakers">,
  shares: Pick<Shares, "load">,
): Readonly<Record<string, unknown>> | undefined {
  const breakers = routes
    .breakers()
    .filter(({ state }) => state !== "closed")
    .map(({ retryInMs, ...breaker }) => ({ ...breaker, retry_in_ms: retryInMs }));
  const queues = shares
    .load()
    .filter(({ waiting }) => waiting > 0)
    .map(({ provider, inProgress, waiting, oldestWaitMs }) => ({
      provider,
      in_progress: inProgress,
      waiting,
      oldest_wait_ms: oldestWaitMs,
    }));
  if (breakers.length === 0 && queues.length === 0) return undefined;
  return { ...(breakers.length === 0 ? {} : { breakers }), ...(queues.length === 0 ? {} : { queues }) };
}

/** The breakers that are not closed and the queues of all providers, for the report of this process. */
export function loadReport(
  routes: Pick<ModelRoutes, "breakers">,
  shares: Pick<Shares, "load">,
): Readonly<Record<string, unknown>> {
  return {
    breakers: routes.breakers().flatMap(({ provider, model, state }) => (state === "closed" ? [] : [{ provider, model, state }])),
    queues: shares.load().map(({ provider, inProgress, waiting, oldestWaitMs }) => ({
      provider,
      in_progress: inProgress,
      waiting,
      oldest_wait_ms: Math.round(oldestWaitMs),
    })),
  };
}
