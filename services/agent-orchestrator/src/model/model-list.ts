import type { Logger } from "@turnwright/platform/logger";
import type { ModelClient } from "./model-client.ts";

const freshMs = 60_000;

/** Names of the models that can be asked. */
export interface ModelList {
  /** The endpoint's models, the default one among them; kept for a minute. */
  names(): Promise<readonly string[]>;
  /** Unix time in seconds since which this process lists them. */
  readonly since: number;
}

/** Makes the list. An endpoint that lists nothing, or does not answer, still has the default model. */
export function createModelList(deps: { model: ModelClient; defaultModel: string; logger: Logger }): ModelList {
  let listed: readonly string[] = [];
  let at = Number.NEGATIVE_INFINITY;
  let asking: Promise<void> | undefined;
  const ask = async () => {
    try {
      listed = await deps.model.listModels(AbortSignal.timeout(5_000));
    } catch (error) {
      deps.logger.warn({ err: error }, "the model's endpoint lists no models");
    }
    at = Date.now();
    asking = undefined;
  };
  return {
    since: Math.floor(Date.now() / 1000),
    async names() {
      if (Date.now() - at >= freshMs) {
        asking ??= ask();
        await asking;
      }
      return [...new Set([deps.defaultModel, ...listed])];
    },
  };
}
