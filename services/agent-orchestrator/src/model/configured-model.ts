import { createDemoModel } from "./demo/demo-model.ts";
import { createHttpModel } from "./endpoint/http-model.ts";
import type { ModelClient } from "./model-client.ts";

/** The variables that choose the model and its endpoint. */
export interface ModelConfig {
  readonly LLM_BASE_URL?: string;
  readonly LLM_API_KEY?: string;
  readonly OPENAI_API_KEY?: string;
  readonly LLM_DEFAULT_MODEL: string;
  /** Milliseconds that the endpoint may be silent. */
  readonly LLM_TIMEOUT: number;
  readonly LLM_CONNECTIONS: number;
}

/** The configured model; the demo model when neither an address nor a key is set. */
export function createConfiguredModel(config: ModelConfig): ModelClient {
  const apiKey = config.LLM_API_KEY ?? config.OPENAI_API_KEY;
  if (config.LLM_BASE_URL === undefined && apiKey === undefined) return createDemoModel(config.LLM_DEFAULT_MODEL);
  return createHttpModel({
    baseUrl: config.LLM_BASE_URL ?? "https://api.openai.com/v1",
    apiKey,
    timeoutMs: config.LLM_TIMEOUT,
    connections: config.LLM_CONNECTIONS,
  });
}
