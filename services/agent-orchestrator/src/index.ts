import type { Client } from "@connectrpc/connect";
import { AgentService } from "@turnwright/contract/agent/v1/agent_service";
import { CompletionService } from "@turnwright/contract/agent/v1/completion_service";
import type { TokenService } from "@turnwright/contract/auth/v1/token_service";
import type { SpendService } from "@turnwright/contract/auth/v1/usage_service";
import type { ConversationService } from "@turnwright/contract/conversation/v1/conversation_service";
import type { JournalService } from "@turnwright/contract/conversation/v1/journal_service";
import type { ExecutionService } from "@turnwright/contract/tool/v1/execution_service";
import type { Logger } from "@turnwright/platform/logger";
import { watchRevocations } from "@turnwright/platform/revocations";
import { mount, type RunningService } from "@turnwright/platform/service";
import type { AgentConfig } from "./config.ts";
import { DrivenRuns } from "./driven-runs.ts";
import { LiveRuns } from "./live-runs.ts";
import { createModelClient } from "./model/model-client.ts";
import { createModelList } from "./model/model-list.ts";
import { agentHandlers, completionHandlers } from "./service.ts";
import { createModelMeter } from "./spending/model-meter.ts";
import { UsageRecorder } from "./spending/usage-recorder.ts";
import { createToolCatalogue } from "./tool-catalogue.ts";
import { startWorker } from "./worker.ts";

export { type AgentConfig, agentConfig } from "./config.ts";

/** Makes the agent orchestrator. It owns no table: what lasts is the journal's. */
export async function createAgentOrchestrator(deps: {
  config: AgentConfig;
  journal: Client<typeof JournalService>;
  conversations: Client<typeof ConversationService>;
  executions: Client<typeof ExecutionService>;
  tokens: Client<typeof TokenService>;
  spend: Client<typeof SpendService>;
  logger: Logger;
}): Promise<RunningService> {
  const { config, logger, tokens } = deps;
  const model = createModelClient(config);
  const liveRuns = new LiveRuns();
  const recorder = new UsageRecorder({ spend: deps.spend, logger });
  const stopWatching = await watchRevocations(
    { tokens, logger },
    // Nothing is cached here; what a run may do is looked up again where its token is renewed.
    { onRevoked: (tokenId) => liveRuns.revoke(tokenId), onGap: () => {} },
  );
  const shared = {
    ...deps,
    liveRuns,
    workerId: crypto.randomUUID(),
    driving: new DrivenRuns(),
    model,
    meter: createModelMeter({ prices: config.MODEL_PRICES, spend: deps.spend, recorder, logger }),
    catalogue: createToolCatalogue({ executions: deps.executions, logger }),
    models: createModelList({ model, defaultModel: config.LLM_DEFAULT_MODEL, logger }),
    defaultModel: config.LLM_DEFAULT_MODEL,
    maxIterations: config.AGENT_MAX_ITERATIONS,
    runTimeoutMs: config.AGENT_RUN_TIMEOUT,
  };
  const worker = startWorker(shared);
  return {
    mounts: [mount(AgentService, agentHandlers(shared)), mount(CompletionService, completionHandlers(shared))],
    async ready() {},
    drain: (limit) => worker.drain(limit),
    async close() {
      await worker.stop();
      await stopWatching();
      await recorder.close();
      await model.close();
    },
  };
}
