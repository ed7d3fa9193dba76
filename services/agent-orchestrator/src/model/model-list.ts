import type { Logger } from "@turnwright/platform/logger";
import type { ModelClient } from "./model-client.ts";

const freshMs = 60_000;

/** The models that clients may name. */
export interface ModelList {
  /** The endpoint's models and the default model; cached for a minute. */
  names(): Promise<readonly string[]>;
  /** Unix time in seconds when this process began to list them. */
  readonly since: number;
}

/** Makes the list. If the endpoint lists nothing or does not answer, the list holds the default model. */
export function createModelList(deps: { model: ModelClient; defaultModel: string; logger: Logger }): ModelList {
  let listed: readonly string[] = [];
  let at = Number.NEGATIVE_INFINITY;
  let asking: Promise<void> | undefined;
  const ask = async () => {
    try {
      listed = await deps.model.listModels(AbortSignal.timeout(5_000));
    } catch (error) {
      deps.logger.warn({ err: error }, "the model's endpoint did not list its models");
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
