import { duration, httpUrl, integer, list, port } from "@turnwright/platform/config/env";
import { grpcEnv } from "@turnwright/platform/config/mesh-env";
import { redisEnv } from "@turnwright/platform/config/redis-env";
import { z } from "zod";
import { defaultMaxAnswer } from "./model/edge/frame-splitter.ts";
import { modelsFile } from "./model/routes/models-file.ts";
import { priceTable } from "./spending/prices.ts";

/** The environment of the agent orchestrator. */
export const agentConfig = z.object({
  ...grpcEnv,
  ...redisEnv,
  GRPC_PORT: port(9103),
  CONVERSATION_ADDR: list("localhost:9102"),
  TOOL_ADDR: list("localhost:9104"),
  /**
   * Path of a YAML or JSON file with providers and models; docs/models.md describes it. With it, LLM_BASE_URL,
   * LLM_API_KEY and OPENAI_API_KEY are not used, except where the file names them.
   */
  MODELS_FILE: modelsFile(process.env),
  /**
   * Any OpenAI-compatible endpoint, with or without `/v1`. With neither an address nor a key, the demo model answers.
   */
  LLM_BASE_URL: httpUrl().optional(),
  LLM_API_KEY: z.string().optional(),
  OPENAI_API_KEY: z.string().optional(),
  LLM_DEFAULT_MODEL: z.string().default("gpt-4o-mini"),
  /** US dollars per million tokens, by model: JSON text, or the path of a JSON file. */
  MODEL_PRICES: priceTable(),
  /**
   * Additional fields, beyond those of OpenAI's requests, that any client may send to the endpoint, whatever its token
   * is limited to.
   */
  LLM_EXTRA_FIELDS: list(""),
  /** How long the model's endpoint may be silent. */
  LLM_TIMEOUT: duration("120s"),
  /** The largest answer of a model in bytes: of a stream the texts, calls and other contents of its events. */
  LLM_MAX_ANSWER: integer(defaultMaxAnswer, { min: 65_536, max: 64 * 1024 * 1024 }),
  /** Tokens that a model's context window holds, where neither its endpoint nor a models file tells. */
  LLM_CONTEXT_WINDOW: integer(128_000, { min: 1_024, max: 100_000_000 }),
  /** The most model calls at a time, over all users. One user alone gets three quarters of them. */
  LLM_CONNECTIONS: integer(256, { min: 1, max: 10_000 }),
  /** How long a model call may wait for a connection. */
  LLM_QUEUE_TIMEOUT: duration("10s"),
  /** The most model calls in one run. */
  AGENT_MAX_ITERATIONS: integer(10, { min: 1, max: 100 }),
  /** How long a run may take. */
  AGENT_RUN_TIMEOUT: duration("10m"),
  /** The most runs that one process drives at a time; queued runs beyond that are left to other processes. */
  AGENT_MAX_RUNS: integer(1_000, { min: 1, max: 100_000 }),
});

/**
 * Bytes of a model's answer: LLM_MAX_ANSWER, and no more than one message between parts carries, which is 7 MiB or a
 * whole request body.
 */
export function answerLimit({ LLM_MAX_ANSWER, SERVER_BODY_LIMIT }: AgentConfig): number {
  return Math.min(LLM_MAX_ANSWER, Math.max(defaultMaxAnswer, SERVER_BODY_LIMIT));
}

/** The parsed environment. */
export type AgentConfig = z.output<typeof agentConfig>;
