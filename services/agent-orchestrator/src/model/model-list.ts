import type { Logger } from "@turnwright/platform/logger";
import type { ModelRoutes } from "./routes/route.ts";

const freshMs = 60_000;
/** Owner of the models when no models file names their providers. */
const ownOwner = "turnwright";

/** A model that clients may name. */
export interface ListedModel {
  readonly id: string;
  /** Its provider, where a models file names it. */
  readonly ownedBy: string;
}

/** The models that clients may name. */
export interface ModelList {
  /**
   * The models and aliases of the models file; without one, the endpoint's models and the default model, cached for a
   * minute.
   */
  models(): Promise<readonly ListedModel[]>;
  /** Unix time in seconds when this process began to list them. */
  readonly since: number;
}

/** Makes the list. If the only endpoint lists nothing or does not answer, the list holds the default model. */
export function createModelList(deps: { routes: ModelRoutes; logger: Logger }): ModelList {
  const { routes, logger } = deps;
  let listed: readonly string[] = [];
  let at = Number.NEGATIVE_INFINITY;
  let asking: Promise<void> | undefined;
  const ask = async () => {
    try {
      const [target] = routes.resolve(routes.defaultModel);
      listed = (await target?.client.listModels(AbortSignal.timeout(5_000))) ?? [];
    } catch (error) {
      logger.warn({ err: error }, "the model's endpoint did not list its models");
    }
    at = Date.now();
    asking = undefined;
  };
  return {
    since: Math.floor(Date.now() / 1000),
    async models() {
      const routed = routes.list();
      if (routed !== undefined) return routed.map(({ id, provider }) => ({ id, ownedBy: provider }));
      if (Date.now() - at >= freshMs) {
        asking ??= ask();
        await asking;
      }
      return [...new Set([routes.defaultModel, ...listed])].map((id) => ({ id, ownedBy: ownOwner }));
    },
  };
}
