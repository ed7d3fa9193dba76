import { create } from "@bufbuild/protobuf";
import { type Client, createClient, type Interceptor } from "@connectrpc/connect";
import { agentConfig, startAgentOrchestrator } from "@turnwright/agent-orchestrator";
import { AgentService } from "@turnwright/contract/agent/v1/agent_service";
import { RunService } from "@turnwright/contract/agent/v1/run_service";
import { IdentitySchema, Role, TokenType } from "@turnwright/contract/auth/v1/identity";
import { TokenService } from "@turnwright/contract/auth/v1/token_service";
import { SpendService } from "@turnwright/contract/auth/v1/usage_service";
import { ConversationService } from "@turnwright/contract/conversation/v1/conversation_service";
import { JournalService } from "@turnwright/contract/conversation/v1/journal_service";
import { ExecutionService } from "@turnwright/contract/tool/v1/execution_service";
import { startConversation } from "@turnwright/conversation";
import { loadConfig } from "@turnwright/platform/config/env";
import { callerServiceKey, identityKey } from "@turnwright/platform/identity/identity";
import { createLogger } from "@turnwright/platform/logger";
import { createMemoryBus } from "@turnwright/platform/ports/bus-memory";
import { openServiceDatabase } from "@turnwright/platform/postgres/service-database";
import { createInProcessTransport } from "@turnwright/platform/rpc/in-process";
import { errorInterceptor, validationInterceptor } from "@turnwright/platform/rpc/interceptors";
import { type Mount, mount } from "@turnwright/platform/rpc/mount";
import { createTestDatabase, openTestPool } from "@turnwright/testing/database";
import { type ScriptedModel, startScriptedModel } from "@turnwright/testing/scripted-model";
import { startToolExecutor, type Tool, toolConfig } from "@turnwright/tool-executor";
import { type EffectCounter, startEffectCounter } from "./effect-counter.ts";

/** An orchestrator of some release. */
export interface Release {
  readonly agent: Client<typeof AgentService>;
  readonly runs: Client<typeof RunService>;
  /** Stops it like SIGTERM with no time left: its runs are handed over. */
  stop(): Promise<void>;
}

/** Services that orchestrators of several releases share. All are real except for the model. */
export interface Releases {
  readonly model: ScriptedModel;
  readonly effects: EffectCounter;
  readonly conversations: Client<typeof ConversationService>;
  /** Starts an orchestrator that supports these versions of the graph. */
  start(graphVersions: { newest: number; oldest: number }): Promise<Release>;
  /** Puts an executor with these tools, besides the built-in ones, in the place of the one before. */
  upgradeExecutor(tools: readonly Tool[]): Promise<void>;
  /** Row of a run. */
  row(runId: string): Promise<Record<string, unknown>>;
  close(): Promise<void>;
}

const meshSecret = "a-secret-of-several-releases-of-turnwright";
const user = {
  userId: "0198a000-0000-7000-8000-000000000001",
  tokenId: "0198a000-0000-7000-8000-000000000002",
  tokenType: TokenType.ACCESS,
  role: Role.USER,
};

/** Starts everything except orchestrators, in this process, on a new database. All calls act for one user. */
export async function startReleases(tools: readonly Tool[] = []): Promise<Releases> {
  const logger = createLogger({ service: "test", level: "silent" });
  const database = await createTestDatabase({ services: ["conversation", "tool"] });
  const [model, effects] = [await startScriptedModel(), await startEffectCounter()];
  const databases = (["conversation", "tool"] as const).map((schema) =>
    openServiceDatabase({ url: database.url, schema, max: 8, logger }),
  );
  const [record, ledger] = databases as [(typeof databases)[0], (typeof databases)[0]];
  const rows = openTestPool(database.url, 1);
  const conversation = startConversation({
    config: { MESH_SECRET: meshSecret, APPROVAL_EXPIRY: 0, WEBHOOK_ALLOWED_HOSTS: [] },
    database: record,
    tokens: createClient(
      TokenService,
      createInProcessTransport({
        mounts: [mount(TokenService, { listRevocations: () => ({}), checkApiKeys: () => ({}) } as never)],
        interceptors: [errorInterceptor(logger)],
      }),
    ),
    logger,
  });
  const environment = { MESH_SECRET: meshSecret, TOOLS_ALLOWED_HOSTS: effects.host, LLM_BASE_URL: model.url };
  const startExecutor = (tools: readonly Tool[]) =>
    startToolExecutor({ config: loadConfig(toolConfig, environment), pool: ledger.pool, logger, tools });
  let executor = await startExecutor(tools);
  const authenticate: Interceptor = (next) => (request) => {
    request.contextValues.set(identityKey, create(IdentitySchema, user));
    request.contextValues.set(callerServiceKey, "agent-orchestrator");
    return next(request);
  };
  const auth = [
    mount(TokenService, {
      mintInternalToken: () => ({ internalToken: "token", identity: create(IdentitySchema, user) }),
      listRevocations: () => ({ revocations: [] }),
    } as never),
    mount(SpendService, { recordUsage: () => ({}) } as never),
  ];
  const transportOf = (mounts: readonly Mount[]) =>
    createInProcessTransport({ mounts, interceptors: [errorInterceptor(logger), authenticate, validationInterceptor()] });
  const neighbours = transportOf([...conversation.mounts, ...auth]);
  let toExecutor = transportOf(executor.mounts);
  const executions = createClient(ExecutionService, {
    unary: (...call) => toExecutor.unary(...call),
    stream: (...call) => toExecutor.stream(...call),
  });
  const bus = createMemoryBus({ logger });
  const running = new Set<Release>();

  return {
    model,
    effects,
    conversations: createClient(ConversationService, neighbours),
    async start(graphVersions) {
      const service = await startAgentOrchestrator({
        config: loadConfig(agentConfig, environment),
        journal: createClient(JournalService, neighbours),
        conversations: createClient(ConversationService, neighbours),
        executions,
        tokens: createClient(TokenService, neighbours),
        spend: createClient(SpendService, neighbours),
        bus,
        logger,
        graphVersions,
      });
      const transport = transportOf(service.mounts);
      const release: Release = {
        agent: createClient(AgentService, transport),
        runs: createClient(RunService, transport),
        async stop() {
          if (running.delete(release)) await service.close();
        },
      };
      running.add(release);
      return release;
    },
    async upgradeExecutor(upgraded) {
      const old = executor;
      executor = await startExecutor(upgraded);
      toExecutor = transportOf(executor.mounts);
      await old.close();
    },
    async row(runId) {
      const { rows: found } = await rows.query("select * from conversation.runs where run_id = $1", [runId]);
      return found[0];
    },
    async close() {
      for (const release of running) await release.stop();
      await executor.close();
      await conversation.close();
      await Promise.all([...databases.map((one) => one.end()), rows.end(), model.close(), effects.close()]);
      await database.drop();
    },
  };
}
