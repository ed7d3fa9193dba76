import type { Logger } from "@turnwright/platform/logger";
import { createDemoModel } from "./demo/demo-model.ts";
import { createHttpModel } from "./endpoint/http-model.ts";
import type { ModelClient } from "./model-client.ts";
import type { PriceTable } from "./price.ts";
import { createPlainRoutes, createReloadableRoutes } from "./routes/model-routes.ts";
import type { Models, ModelsSource } from "./routes/models-file.ts";
import type { ModelRoutes } from "./routes/route.ts";
import { watchModels } from "./routes/watch-models.ts";

/** The variables that choose the models and their endpoints. */
export interface ModelConfig {
  readonly MODELS_FILE?: ModelsSource;
  readonly LLM_BASE_URL?: string;
  readonly LLM_API_KEY?: string;
  readonly OPENAI_API_KEY?: string;
  readonly LLM_DEFAULT_MODEL: string;
  /** Milliseconds that the endpoint may be silent. */
  readonly LLM_TIMEOUT: number;
  readonly LLM_CONNECTIONS: number;
  /** Bytes of an answer. */
  readonly LLM_MAX_ANSWER: number;
  readonly MODEL_PRICES: PriceTable;
}

/** Name of the provider that LLM_BASE_URL stands for. */
export const onlyProvider = "default";
/** Name of the provider of the demo model. */
const demoProvider = "demo";
/**
 * Connections beyond those of model calls: for lists of models, and for calls whose last connection is closing. Calls
 * wait for their share, never for the pool.
 */
const spareConnections = 32;

/** Whether the demo model answers: there is neither a models file, nor an address, nor a key. */
export function isDemo(config: Pick<ModelConfig, "MODELS_FILE" | "LLM_BASE_URL" | "LLM_API_KEY" | "OPENAI_API_KEY">): boolean {
  return [config.MODELS_FILE, config.LLM_BASE_URL, config.LLM_API_KEY, config.OPENAI_API_KEY].every((one) => one === undefined);
}

/** The configured routes: by the models file, else to the one endpoint, else to the demo model. */
export function openModelRoutes(config: ModelConfig, logger: Logger): ModelRoutes {
  const { MODELS_FILE: source, LLM_DEFAULT_MODEL: defaultModel, MODEL_PRICES: prices } = config;
  if (source === undefined) {
    const apiKey = config.LLM_API_KEY ?? config.OPENAI_API_KEY;
    const usesDemo = isDemo(config);
    const client = usesDemo
      ? createDemoModel(defaultModel)
      : createHttpModel({
          baseUrl: config.LLM_BASE_URL ?? "https://api.openai.com/v1",
          apiKey,
          timeoutMs: config.LLM_TIMEOUT,
          maxAnswerBytes: config.LLM_MAX_ANSWER,
          connections: config.LLM_CONNECTIONS + spareConnections,
        });
    const name = usesDemo ? demoProvider : onlyProvider;
    // The demo model needs no connection.
    const connections = usesDemo ? Number.POSITIVE_INFINITY : config.LLM_CONNECTIONS;
    return createPlainRoutes({ name, client, connections, defaultModel }, prices);
  }
  if (config.LLM_BASE_URL !== undefined) logger.warn("LLM_BASE_URL is not used: MODELS_FILE names the providers");
  const makeClient = (name: string, models: Models): ModelClient => {
    const entry = models.providers[name];
    if (entry === undefined) throw new Error(`The provider ${name} is not in the models file.`);
    return createHttpModel({
      baseUrl: entry.base_url,
      apiKey: models.keys.get(name),
      headers: models.headers.get(name),
      secrets: models.secrets.get(name),
      timeoutMs: entry.timeout ?? config.LLM_TIMEOUT,
      maxAnswerBytes: config.LLM_MAX_ANSWER,
      connections: (entry.connections ?? config.LLM_CONNECTIONS) + spareConnections,
    });
  };
  const routes = createReloadableRoutes(source.models, {
    defaultModel,
    connections: config.LLM_CONNECTIONS,
    prices,
    makeClient,
    logger,
  });
  const stop = watchModels({ source, take: (read) => routes.take(read), logger });
  return {
    ...routes,
    get defaultModel() {
      return routes.defaultModel;
    },
    async close() {
      stop();
      await routes.close();
    },
  };
}
