import { createClient } from "@connectrpc/connect";
import { agentConfig, startAgentOrchestrator } from "@turnwright/agent-orchestrator";
import { authConfig, startAuth } from "@turnwright/auth";
import { TokenService } from "@turnwright/contract/auth/v1/token_service";
import { SpendService } from "@turnwright/contract/auth/v1/usage_service";
import { ConversationService } from "@turnwright/contract/conversation/v1/conversation_service";
import { JournalService } from "@turnwright/contract/conversation/v1/journal_service";
import { ExecutionService } from "@turnwright/contract/tool/v1/execution_service";
import { conversationConfig, startConversation } from "@turnwright/conversation";
import { createGateway, gatewayConfig, publicServices } from "@turnwright/gateway";
import { ConfigError, loadConfig } from "@turnwright/platform/config/env";
import { meshSecrets } from "@turnwright/platform/config/mesh-env";
import { databaseUrl } from "@turnwright/platform/config/postgres-env";
import { redisUrl } from "@turnwright/platform/config/redis-env";
import { startEmbeddedPostgres } from "@turnwright/platform/embedded-postgres/embedded-postgres";
import { createInternalTokenVerifier } from "@turnwright/platform/identity/internal-token";
import { createServiceTokenSource, createServiceTokenVerifier } from "@turnwright/platform/identity/service-token";
import { createLogger, type Logger } from "@turnwright/platform/logger";
import { openPorts } from "@turnwright/platform/ports/open-ports";
import type { MigratedService } from "@turnwright/platform/postgres/migrations";
import { openSchema } from "@turnwright/platform/postgres/open-schema";
import { openServiceDatabase } from "@turnwright/platform/postgres/service-database";
import { drainWithin } from "@turnwright/platform/process/lifecycle";
import { checkListenAddress } from "@turnwright/platform/process/listening";
import { watchProcess } from "@turnwright/platform/process/process-figures";
import { createInProcessTransport } from "@turnwright/platform/rpc/in-process";
import { serverInterceptors, serviceCredentialsInterceptor } from "@turnwright/platform/rpc/interceptors";
import type { Mount, RunningService } from "@turnwright/platform/rpc/mount";
import { startToolExecutor, toolConfig } from "@turnwright/tool-executor";
import { z } from "zod";
import { openConsoleFolder } from "./console-folder.ts";
import { interruptible } from "./interruptible.ts";
import { meshSecret } from "./mesh-secret.ts";

const allInOneConfig = z.object({
  ...authConfig.shape,
  ...conversationConfig.shape,
  ...toolConfig.shape,
  ...agentConfig.shape,
  ...gatewayConfig.shape,
  TURNWRIGHT_DATA_DIR: z.string().default(".turnwright"),
});

/**
 * The fewest database connections of the process: taking one while holding another of the same pool never happens, but
 * a pool of one makes everything wait in line.
 */
const leastConnections = 8;

/** Divides the process's database connections among the services, so that no service can take all of them. */
function connectionShares(total: number): Readonly<Record<MigratedService, number>> {
  if (total < leastConnections) {
    throw new ConfigError([`DB_MAX_OPEN_CONNS: all services in one process need at least ${leastConnections}, got ${total}`]);
  }
  const auth = Math.max(3, Math.round(total / 5));
  const tool = Math.max(2, Math.round(total / 5));
  return { auth, tool, conversation: total - auth - tool };
}

/** A running system. */
export interface RunningSystem {
  /** Port of the public API. */
  readonly port: number;
  /** The stores and the model in use, for the banner and the log. */
  readonly stores: { database: "embedded" | "external"; redis: "redis" | "memory"; model: "demo" | "real" };
  /** Directory of the embedded database; undefined with an external one. */
  readonly databaseDirectory: string | undefined;
  readonly logger: Logger;
  /**
   * Lets requests, streams and runs finish within the configured time, then closes services and stores, in this order.
   */
  close(): Promise<void>;
}

/**
 * Starts the whole system in this process: the gateway and four services over the in-process plane, with embedded
 * PostgreSQL unless one is configured, and in-memory ports unless Redis is. Throws ConfigError with all faults of the
 * environment. The signal ends a start that is under way.
 */
export async function startAllInOne(
  environment: Readonly<Record<string, string | undefined>> = process.env,
  signal?: AbortSignal,
): Promise<RunningSystem> {
  const dataDir = environment.TURNWRIGHT_DATA_DIR || ".turnwright";
  // A faulty environment leaves no secret and no directory behind.
  const parsed = loadConfig(allInOneConfig, { ...environment, MESH_SECRET: environment.MESH_SECRET || "-".repeat(32) });
  const config = { ...parsed, MESH_SECRET: meshSecret(environment, dataDir) };
  const shares = connectionShares(config.DB_MAX_OPEN_CONNS);
  const logger = createLogger({ service: "turnwright", level: config.LOG_LEVEL });
  const closers: (() => Promise<void>)[] = [];
  const close = async () => {
    for (const step of closers.splice(0).reverse()) await step();
  };
  return await interruptible(signal, close, async () => {
    await checkListenAddress({
      port: config.SERVER_PORT,
      host: config.SERVER_HOST,
      portVariable: "SERVER_PORT",
      hostVariable: "SERVER_HOST",
    });
    const opening = openConsoleFolder(config.CONSOLE_DIR, logger);
    closers.push(async () => (await opening).close());
    const externalUrl = databaseUrl(config);
    let url = externalUrl;
    let databaseDirectory: string | undefined;
    if (url === undefined) {
      const starting = startEmbeddedPostgres({ dataDir: config.TURNWRIGHT_DATA_DIR, logger, signal });
      closers.push(async () => (await starting.catch(() => undefined))?.stop());
      ({ url, directory: databaseDirectory } = await starting);
    }
    const databaseAddress = url;
    const loads = new Map<MigratedService, () => unknown>();
    const databaseOf = async (schema: MigratedService) => {
      const database = openServiceDatabase({
        ...(await openSchema({ config, url: databaseAddress, schema, logger })),
        schema,
        max: shares[schema],
        statementTimeoutMs: config.DB_STATEMENT_TIMEOUT,
        isPrepared: config.DB_PREPARED_STATEMENTS,
        logger,
      });
      closers.push(() => database.end());
      loads.set(schema, () => database.load());
      return database;
    };
    const ports = await openPorts({ redisUrl: redisUrl(config), busSecret: meshSecrets(config), logger, role: "gateway" });
    closers.push(() => ports.close());

    const auth = await startAuth({
      config,
      database: await databaseOf("auth"),
      bus: ports.bus,
      logger: logger.child({ part: "auth" }),
    });
    closers.push(() => auth.close());
    const interceptors = serverInterceptors({
      logger,
      internalTokens: createInternalTokenVerifier(auth.keySource),
      serviceTokens: createServiceTokenVerifier(meshSecrets(config)),
    });
    const transportOf = (mounts: readonly Mount[], caller: string) =>
      createInProcessTransport({
        mounts,
        interceptors,
        clientInterceptors: [serviceCredentialsInterceptor(createServiceTokenSource(config.MESH_SECRET, caller))],
      });
    const conversation = startConversation({
      config,
      database: await databaseOf("conversation"),
      tokens: createClient(TokenService, transportOf(auth.mounts, "conversation")),
      bus: ports.bus,
      logger: logger.child({ part: "conversation" }),
      hasOwnWorkers: true,
    });
    closers.push(() => conversation.close());
    const executor = await startToolExecutor({
      config,
      pool: (await databaseOf("tool")).pool,
      logger: logger.child({ part: "tool-executor" }),
    });
    closers.push(() => executor.close());
    const agent = await startAgentOrchestrator({
      config,
      journal: createClient(JournalService, transportOf(conversation.mounts, "agent-orchestrator")),
      conversations: createClient(ConversationService, transportOf(conversation.mounts, "agent-orchestrator")),
      tokens: createClient(TokenService, transportOf(auth.mounts, "agent-orchestrator")),
      spend: createClient(SpendService, transportOf(auth.mounts, "agent-orchestrator")),
      executions: createClient(ExecutionService, transportOf(executor.mounts, "agent-orchestrator")),
      bus: ports.bus,
      logger: logger.child({ part: "agent-orchestrator" }),
    });
    closers.push(() => agent.close());
    const services: RunningService[] = [auth, conversation, executor, agent];

    const transport = transportOf(
      services.flatMap((service) => service.mounts),
      "gateway",
    );
    const measured = watchProcess();
    closers.push(async () => measured.stop());
    const reported = (service: RunningService, pools?: () => unknown) => async () => [
      { instance: "", report: { ...measured.figures(), pools: pools?.(), ...service.report?.() } },
    ];
    const gateway = await createGateway({
      config: { ...config, CONSOLE_DIR: (await opening).path },
      services: Object.values(publicServices).flat(),
      transport: () => transport,
      limiter: ports.limiter,
      concurrency: ports.concurrency,
      bus: ports.bus,
      checks: {
        redis: () => ports.ping(),
        auth: () => auth.ready(),
        conversation: () => conversation.ready(),
        "tool-executor": () => executor.ready(),
        "agent-orchestrator": async () => {
          await agent.ready();
          return { serving: 1, failing: [], details: agent.details?.() };
        },
      },
      parts: {
        auth: reported(auth, loads.get("auth")),
        conversation: reported(conversation, loads.get("conversation")),
        "tool-executor": reported(executor, loads.get("tool")),
        "agent-orchestrator": reported(agent),
      },
      logger: logger.child({ part: "gateway" }),
    });
    closers.push(() => {
      const underWay = Object.assign({ requests: gateway.requests }, ...services.map((service) => service.underWay?.()));
      logger.info({ limit_ms: config.SERVER_SHUTDOWN_TIMEOUT, ...underWay }, "draining");
      return drainWithin(config.SERVER_SHUTDOWN_TIMEOUT, (limit) =>
        Promise.all([gateway.close(), ...services.map((service) => service.drain?.(limit))]),
      );
    });
    const { port } = await gateway.listen();
    return {
      port,
      stores: {
        database: externalUrl === undefined ? "embedded" : "external",
        redis: ports.kind,
        model: config.MODELS_FILE || config.LLM_BASE_URL || config.LLM_API_KEY || config.OPENAI_API_KEY ? "real" : "demo",
      },
      databaseDirectory,
      logger,
      async close() {
        await close();
        logger.info("closed");
      },
    };
  });
}
