import { join } from "node:path";
import { startAllInOne } from "../e2e/all-in-one.ts";
import type { System } from "../e2e/system.ts";

/** Starts the system with an endpoint and the tools of these tests. */
export function startAt(url: string, env: Record<string, string> = {}): Promise<System> {
  return startAllInOne({
    LLM_BASE_URL: url,
    LLM_API_KEY: "sk-endpoint",
    LLM_DEFAULT_MODEL: "mock",
    RATE_LIMIT_ENABLED: "false",
    TOOLS_DIR: join(import.meta.dirname, "tools"),
    ...env,
  });
}
