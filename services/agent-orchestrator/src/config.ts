import { duration, httpUrl, integer, list, port } from "@turnwright/platform/config/env";
import { grpcEnv } from "@turnwright/platform/config/mesh-env";
import { redisEnv } from "@turnwright/platform/config/redis-env";
import { z } from "zod";
import { priceTable } from "./spending/prices.ts";

/** The environment of the agent orchestrator. */
export const agentConfig = z.object({
  ...grpcEnv,
  ...redisEnv,
  GRPC_PORT: port(9103),
  CONVERSATION_ADDR: list("localhost:9102"),
  TOOL_ADDR: list("localhost:9104"),
  /** Any OpenAI-compatible endpoint, with or without `/v1`. Neither it nor a key: the demo model. */
  LLM_BASE_URL: httpUrl().optional(),
  LLM_API_KEY: z.string().optional(),
  OPENAI_API_KEY: z.string().optional(),
  LLM_DEFAULT_MODEL: z.string().default("gpt-4o-mini"),
  /** US dollars per million tokens, by model: JSON, or the path of a file with it. */
  MODEL_PRICES: priceTable(),
  /**
   * Fields beyond those of OpenAI's requests that clients may send to the endpoint, whatever bounds their tokens have.
   */
  LLM_EXTRA_FIELDS: list(""),
  /** How long a model may be silent. */
  LLM_TIMEOUT: duration("120s"),
  /** Connections to the model's endpoint. */
  LLM_CONNECTIONS: integer(256, { min: 1, max: 10_000 }),
  /** Model calls in one turn. */
  AGENT_MAX_ITERATIONS: integer(10, { min: 1, max: 100 }),
  /** How long a turn may take. */
  AGENT_RUN_TIMEOUT: duration("10m"),
  /** Runs that one process drives at a time before it leaves queued ones to others. */
  AGENT_MAX_RUNS: integer(1_000, { min: 1, max: 100_000 }),
});

/** The parsed environment. */
export type AgentConfig = z.output<typeof agentConfig>;
