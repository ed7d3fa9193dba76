import type { Client } from "@connectrpc/connect";
import { AgentService } from "@turnwright/contract/agent/v1/agent_service";
import { CompletionService } from "@turnwright/contract/agent/v1/completion_service";
import type { TokenService } from "@turnwright/contract/auth/v1/token_service";
import type { ConversationService } from "@turnwright/contract/conversation/v1/conversation_service";
import type { JournalService } from "@turnwright/contract/conversation/v1/journal_service";
import type { ExecutionService } from "@turnwright/contract/tool/v1/execution_service";
import type { Logger } from "@turnwright/platform/logger";
import { mount, type RunningService } from "@turnwright/platform/service";
import type { AgentConfig } from "./config.ts";
import { createModelClient } from "./model/model-client.ts";
import { createModelList } from "./model/model-list.ts";
import { agentHandlers, completionHandlers } from "./service.ts";
import { createToolCatalogue } from "./tool-catalogue.ts";

export { type AgentConfig, agentConfig } from "./config.ts";

/** Makes the agent orchestrator. It owns no table: what lasts is the journal's. */
export function createAgentOrchestrator(deps: {
  config: AgentConfig;
  journal: Client<typeof JournalService>;
  conversations: Client<typeof ConversationService>;
  executions: Client<typeof ExecutionService>;
  tokens: Client<typeof TokenService>;
  logger: Logger;
}): RunningService {
  const { config, logger } = deps;
  const model = createModelClient(config);
  const shared = {
    ...deps,
    model,
    catalogue: createToolCatalogue({ executions: deps.executions, logger }),
    models: createModelList({ model, defaultModel: config.LLM_DEFAULT_MODEL, logger }),
    defaultModel: config.LLM_DEFAULT_MODEL,
    maxIterations: config.AGENT_MAX_ITERATIONS,
    runTimeoutMs: config.AGENT_RUN_TIMEOUT,
  };
  return {
    mounts: [mount(AgentService, agentHandlers(shared)), mount(CompletionService, completionHandlers(shared))],
    async ready() {},
    close: () => model.close(),
  };
}
