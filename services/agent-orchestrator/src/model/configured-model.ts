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
  /** Bytes of an answer. */
  readonly LLM_MAX_ANSWER: number;
}

/** Connections beyond those of model calls: for lists of models, and for calls whose last connection is closing. */
const spareConnections = 32;

function isDemo(config: ModelConfig): boolean {
  return config.LLM_BASE_URL === undefined && config.LLM_API_KEY === undefined && config.OPENAI_API_KEY === undefined;
}

/** The most model calls at a time; Infinity for the demo model, which needs no connection. */
export function mostCalls(config: ModelConfig): number {
  return isDemo(config) ? Number.POSITIVE_INFINITY : config.LLM_CONNECTIONS;
}

/** The configured model; the demo model when neither an address nor a key is set. */
export function createConfiguredModel(config: ModelConfig): ModelClient {
  if (isDemo(config)) return createDemoModel(config.LLM_DEFAULT_MODEL);
  return createHttpModel({
    baseUrl: config.LLM_BASE_URL ?? "https://api.openai.com/v1",
    apiKey: config.LLM_API_KEY ?? config.OPENAI_API_KEY,
    timeoutMs: config.LLM_TIMEOUT,
    maxAnswerBytes: config.LLM_MAX_ANSWER,
    // Calls wait for their share, never for the pool.
    connections: config.LLM_CONNECTIONS + spareConnections,
  });
}
