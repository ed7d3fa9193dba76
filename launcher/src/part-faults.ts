import { agentConfig } from "@turnwright/agent-orchestrator/config";
import { authConfig } from "@turnwright/auth/config";
import { conversationConfig } from "@turnwright/conversation/config";
import { gatewayProcessConfig } from "@turnwright/gateway/config";
import { ConfigError, loadConfig } from "@turnwright/platform/config/env";
import { toolConfig } from "@turnwright/tool-executor/config";
import type { z } from "zod";

const parts = [authConfig, conversationConfig, toolConfig, agentConfig, gatewayProcessConfig];

/**
 * Throws ConfigError with the faults of a starter's own configuration and of all parts together, each once. The starter
 * gives each part what only the starter knows, such as the mesh secret.
 */
export function checkPartConfigs(own: z.ZodObject, environment: Readonly<Record<string, string | undefined>>): void {
  const given = { ...environment, MESH_SECRET: environment.MESH_SECRET || "-".repeat(32) };
  const faults = new Set<string>();
  for (const schema of [own, ...parts]) {
    try {
      loadConfig(schema, given);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      for (const fault of error.faults) faults.add(fault);
    }
  }
  if (faults.size > 0) throw new ConfigError([...faults]);
}
