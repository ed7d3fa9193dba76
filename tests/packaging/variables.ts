import { agentConfig } from "@turnwright/agent-orchestrator";
import { authConfig } from "@turnwright/auth";
import { conversationConfig } from "@turnwright/conversation";
import { gatewayProcessConfig } from "@turnwright/gateway";
import { meshConfig } from "@turnwright/launcher/mesh";
import { toolConfig } from "@turnwright/tool-executor";
import type { z } from "zod";
import { databaseToolConfig } from "../../packages/platform/tools/configured-database.ts";

/** Configuration schemas by process. */
export const configs: Readonly<Record<string, z.ZodObject>> = {
  gateway: gatewayProcessConfig,
  auth: authConfig,
  conversation: conversationConfig,
  "agent-orchestrator": agentConfig,
  "tool-executor": toolConfig,
  mesh: meshConfig,
  migrate: databaseToolConfig,
};
