import { createHash } from "node:crypto";
import type { Client } from "@connectrpc/connect";
import { AgentService } from "@turnwright/contract/agent/v1/agent_service";
import { CompletionService } from "@turnwright/contract/agent/v1/completion_service";
import { RunService } from "@turnwright/contract/agent/v1/run_service";
import type { TokenService } from "@turnwright/contract/auth/v1/token_service";
import type { SpendService } from "@turnwright/contract/auth/v1/usage_service";
import type { ConversationService } from "@turnwright/contract/conversation/v1/conversation_service";
import type { JournalService } from "@turnwright/contract/conversation/v1/journal_service";
import type { ExecutionService } from "@turnwright/contract/tool/v1/execution_service";
import { redisUrl } from "@turnwright/platform/config/redis-env";
import { watchRevocations } from "@turnwright/platform/identity/revocations";
import type { Logger } from "@turnwright/platform/logger";
import type { Bus } from "@turnwright/platform/ports/bus";
import { mount, type RunningService } from "@turnwright/platform/rpc/mount";
import type { AgentConfig } from "./config.ts";
import { type GraphVersions, graphVersions as ownVersions } from "./graph/turn.ts";
import { agentHandlers, completionHandlers } from "./handlers/agent.ts";
import { runHandlers } from "./handlers/runs.ts";
import { createConfiguredModel } from "./model/configured-model.ts";
import { createModelList } from "./model/model-list.ts";
import { LiveLogs } from "./run-events/live-log.ts";
import { listenForCancels } from "./runs/cancel-run.ts";
import { type ClaimDeps, createLocalDispatcher, type Dispatcher } from "./runs/dispatch.ts";
import { DrivenRuns } from "./runs/owned-runs.ts";
import { LiveRuns } from "./runs/runs-by-token.ts";
import { startWorker } from "./runs/worker.ts";
import { createModelMeter } from "./spending/model-meter.ts";
import { UsageRecorder } from "./spending/usage-recorder.ts";
import { createToolCatalogue } from "./tool-access/tool-catalogue.ts";

export { type AgentConfig, agentConfig } from "./config.ts";
export { LiveRuns } from "./runs/runs-by-token.ts";
export { asStarter } from "./runs/take-over.ts";

/**
 * Dispatches over all orchestrators where they share a Redis, else within this process, which need not hold the queue's
 * code in memory.
 */
async function createDispatcher(config: AgentConfig, deps: ClaimDeps): Promise<Dispatcher> {
  const url = redisUrl(config);
  if (url === undefined) return createLocalDispatcher(deps);
  const { createBullDispatcher } = await import("./runs/dispatch-bullmq.ts");
  const system = createHash("sha256").update(config.MESH_SECRET).digest("hex").slice(0, 12);
  return createBullDispatcher({ ...deps, redisUrl: url, system });
}

/** Makes the agent orchestrator. It owns no table: what lasts is the journal's. */
export async function createAgentOrchestrator(deps: {
  config: AgentConfig;
  journal: Client<typeof JournalService>;
  conversations: Client<typeof ConversationService>;
  executions: Client<typeof ExecutionService>;
  tokens: Client<typeof TokenService>;
  spend: Client<typeof SpendService>;
  /** Between the orchestrators: what happens in runs, for those who watch, and which are cancelled. */
  bus: Bus;
  logger: Logger;
  /** Of another release than this one; unset: its own. */
  graphVersions?: GraphVersions;
}): Promise<RunningService> {
  const { config, logger, tokens, graphVersions = ownVersions } = deps;
  const model = createConfiguredModel(config);
  const liveRuns = new LiveRuns();
  const recorder = new UsageRecorder({ spend: deps.spend, logger });
  const stopWatching = await watchRevocations(
    { tokens, logger },
    // Nothing is cached here; what a run may do is looked up again where its token is renewed.
    { onRevoked: (tokenId) => liveRuns.revoke(tokenId), onGap: () => {} },
  );
  const workerId = crypto.randomUUID();
  const driving = new DrivenRuns();
  const liveLogs = new LiveLogs(deps.bus);
  const dispatcher = await createDispatcher(config, {
    journal: deps.journal,
    workerId,
    graphVersions,
    hasRoom: () => driving.size < config.AGENT_MAX_RUNS,
    drive: (context) => void worker.takeOver(context),
    logger,
  });
  const shared = {
    ...deps,
    liveRuns,
    liveLogs,
    workerId,
    graphVersions,
    driving,
    dispatch: dispatcher.dispatch,
    maxRuns: config.AGENT_MAX_RUNS,
    model,
    meter: createModelMeter({ prices: config.MODEL_PRICES, spend: deps.spend, recorder, logger }),
    catalogue: createToolCatalogue({ executions: deps.executions, logger }),
    models: createModelList({ model, defaultModel: config.LLM_DEFAULT_MODEL, logger }),
    defaultModel: config.LLM_DEFAULT_MODEL,
    maxIterations: config.AGENT_MAX_ITERATIONS,
    extraFields: new Set(config.LLM_EXTRA_FIELDS),
    runTimeoutMs: config.AGENT_RUN_TIMEOUT,
  };
  const worker = startWorker(shared);
  const stopListening = await Promise.all([liveLogs.listen(), listenForCancels(shared)]);
  return {
    mounts: [
      mount(AgentService, agentHandlers(shared)),
      mount(RunService, runHandlers(shared)),
      mount(CompletionService, completionHandlers(shared)),
    ],
    ready: () => worker.ready(),
    async drain(limit) {
      await dispatcher.close();
      await worker.drain(limit);
    },
    async close() {
      await dispatcher.close();
      await worker.stop();
      await Promise.all(stopListening.map((stop) => stop()));
      await stopWatching();
      await recorder.close();
      await model.close();
    },
  };
}
