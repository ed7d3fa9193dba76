import type { Client } from "@connectrpc/connect";
import type { TokenService } from "@turnwright/contract/auth/v1/token_service";
import type { SpendService } from "@turnwright/contract/auth/v1/usage_service";
import type { ConversationService } from "@turnwright/contract/conversation/v1/conversation_service";
import type { JournalService } from "@turnwright/contract/conversation/v1/journal_service";
import type { ExecutionService } from "@turnwright/contract/tool/v1/execution_service";
import { meshSecrets } from "@turnwright/platform/config/mesh-env";
import { redisUrl } from "@turnwright/platform/config/redis-env";
import { acceptedSecrets } from "@turnwright/platform/config/secrets";
import { createFailureLog } from "@turnwright/platform/failure-log";
import { watchRevocations } from "@turnwright/platform/identity/revocations";
import type { Logger } from "@turnwright/platform/logger";
import type { Bus } from "@turnwright/platform/ports/bus";
import { systemId } from "@turnwright/platform/ports/system-id";
import type { RunningService } from "@turnwright/platform/rpc/mount";
import { type AgentConfig, answerLimit } from "./config.ts";
import { UnendedRuns } from "./graph/failure.ts";
import { type GraphVersions, graphVersions as ownVersions } from "./graph/versions.ts";
import { createMounts } from "./handlers/mounts.ts";
import { createHistory } from "./history/history.ts";
import { imageTakers } from "./history/image-refusals.ts";
import { isDemo, openModelRoutes } from "./model/configured-model.ts";
import { createModelList } from "./model/model-list.ts";
import { withDefaultModel } from "./model/routes/model-routes.ts";
import { createBoundedMeter } from "./model-calls/bounded-meter.ts";
import { createModelCalls } from "./model-calls/model-calls.ts";
import { loadReport, readinessDetails } from "./model-calls/readiness-details.ts";
import { createSharedMeter } from "./model-calls/shared-meter.ts";
import { Shares } from "./model-calls/shares.ts";
import { LiveLogs } from "./run-events/live-log.ts";
import { RunWatches } from "./run-events/run-watches.ts";
import { listenForCancels } from "./runs/cancel-run.ts";
import { type ClaimDeps, createLocalDispatcher, type Dispatcher } from "./runs/dispatch.ts";
import { OwnedRuns } from "./runs/owned-runs.ts";
import { ReaderCredentials } from "./runs/reader-credentials.ts";
import { RunsByToken } from "./runs/runs-by-token.ts";
import { createWorker } from "./runs/worker.ts";
import { createModelMeter } from "./spending/model-meter.ts";
import { UsageRecorder } from "./spending/usage-recorder.ts";
import { createToolCatalogue } from "./tool-access/tool-catalogue.ts";
import { ToolRefusals } from "./tool-access/tool-refusals.ts";

export { type AgentConfig, agentConfig } from "./config.ts";
export { RunsByToken } from "./runs/runs-by-token.ts";
export { asStarter } from "./runs/take-over.ts";

/**
 * Makes a dispatcher over all orchestrators that share a Redis, else one within this process. The code of the queue is
 * loaded only with Redis.
 */
async function createDispatcher(config: AgentConfig, deps: ClaimDeps): Promise<Dispatcher> {
  const url = redisUrl(config);
  if (url === undefined) return createLocalDispatcher(deps);
  const { createBullDispatcher } = await import("./runs/dispatch-bullmq.ts");
  const [system = "", ...otherNames] = acceptedSecrets(meshSecrets(config)).map(systemId);
  return createBullDispatcher({ ...deps, redisUrl: url, system, otherNames });
}

/**
 * Starts the agent orchestrator: its worker, its dispatcher and its subscriptions. It owns no table: all durable state
 * is in the journal of the conversation service.
 */
export async function startAgentOrchestrator(deps: {
  config: AgentConfig;
  journal: Client<typeof JournalService>;
  conversations: Client<typeof ConversationService>;
  executions: Client<typeof ExecutionService>;
  tokens: Client<typeof TokenService>;
  spend: Client<typeof SpendService>;
  /** Carries live frames and cancellations between orchestrators. */
  bus: Bus;
  logger: Logger;
  /** The graph versions to drive; unset: those of this release. */
  graphVersions?: GraphVersions;
  /** Milliseconds after which usage is recorded; 1,000 unless given. */
  usageFlushMs?: number;
  /** Milliseconds between heartbeats; 1,000 unless given. */
  beatMs?: number;
}): Promise<RunningService> {
  const { config, logger, tokens, graphVersions = ownVersions } = deps;
  const routes = openModelRoutes({ ...config, LLM_MAX_ANSWER: answerLimit(config) }, logger);
  const shares = new Shares({ limitOf: routes.connectionsOf, waitMs: config.LLM_QUEUE_TIMEOUT });
  const runsByToken = new RunsByToken();
  const failures = createFailureLog(logger);
  const recorder = new UsageRecorder({ spend: deps.spend, logger, flushMs: deps.usageFlushMs });
  const stopWatching = await watchRevocations(
    { tokens, logger },
    // Nothing is cached here: a run's permissions are looked up again whenever its token is renewed.
    { onRevoked: (tokenId) => runsByToken.revoke(tokenId), onGap: () => {} },
  );
  const workerId = crypto.randomUUID();
  const owned = new OwnedRuns();
  const liveLogs = new LiveLogs(deps);
  const watches = new RunWatches(deps);
  const hasRoom = () => owned.size < config.AGENT_MAX_RUNS;
  const dispatcher = await createDispatcher(config, { journal: deps.journal, workerId, graphVersions, hasRoom, logger });
  const shared = withDefaultModel(routes, {
    ...deps,
    runsByToken,
    liveLogs,
    watches,
    readers: new ReaderCredentials(deps),
    workerId,
    graphVersions,
    owned,
    unended: new UnendedRuns(),
    dispatch: dispatcher.dispatch,
    maxRuns: config.AGENT_MAX_RUNS,
    beatMs: deps.beatMs ?? 1_000,
    modelCalls: createModelCalls({
      routes,
      meter: createBoundedMeter(
        createSharedMeter(createModelMeter({ spend: deps.spend, recorder, logger }), shares),
        answerLimit(config),
      ),
      logger,
      failures,
    }),
    failures,
    history: createHistory({ defaultWindow: config.LLM_CONTEXT_WINDOW }),
    catalogue: createToolCatalogue({ executions: deps.executions, logger }),
    models: createModelList({ routes, logger }),
    maxIterations: config.AGENT_MAX_ITERATIONS,
    extraFields: new Set(config.LLM_EXTRA_FIELDS),
    bodyLimit: config.SERVER_BODY_LIMIT,
    toolRefusals: new ToolRefusals(routes),
    takesImages: imageTakers(routes),
    runTimeoutMs: config.AGENT_RUN_TIMEOUT,
  });
  const worker = createWorker(shared);
  dispatcher.start((context) => void worker.takeOver(context));
  worker.start();
  const stopListening = await Promise.all([liveLogs.listen(), watches.listen(), listenForCancels(shared)]);
  return {
    mounts: createMounts(shared),
    async ready() {
      shares.check();
      await worker.ready();
    },
    details: () => readinessDetails(routes, shares),
    report: () => ({ demo_model: isDemo(config), ...loadReport(routes, shares) }),
    underWay: () => ({ runs: owned.size }),
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
      shares.close();
      await routes.close();
    },
  };
}
