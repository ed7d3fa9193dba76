import type { DescService } from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";
import { ConfigError, loadConfig } from "@turnwright/platform/config/env";
import { meshSecrets } from "@turnwright/platform/config/mesh-env";
import { redisUrl } from "@turnwright/platform/config/redis-env";
import { createLogger } from "@turnwright/platform/logger";
import { meshTlsFaults } from "@turnwright/platform/mesh-tls/certificate-files";
import { openPorts } from "@turnwright/platform/ports/open-ports";
import { logUnhandledRejections, reportStartFailure } from "@turnwright/platform/process/lifecycle";
import { checkListenAddress } from "@turnwright/platform/process/listening";
import { joinMesh } from "@turnwright/platform/process/run-service";
import { onTermination } from "@turnwright/platform/process/termination";
import { gatewayProcessConfig } from "./config.ts";
import { createGateway, type Gateway } from "./index.ts";
import { publicServices } from "./public-services.ts";

/**
 * Bytes of a stream that wait unread in the gateway's mesh connection for slow clients; HTTP/2 uses up to four times as
 * much memory for each.
 */
const streamWindowBytes = 16_384;

async function start(): Promise<void> {
  const config = loadConfig(gatewayProcessConfig, process.env, meshTlsFaults("gateway"));
  const logger = createLogger({ service: "gateway", level: config.LOG_LEVEL });
  const url = redisUrl(config);
  if (url === undefined) throw new ConfigError(["REDIS_URL: separate processes need Redis for limits and revocations"]);
  const closers: (() => Promise<void> | void)[] = [];
  // A signal during the start closes what has been opened by then.
  let gateway: Gateway | undefined;
  onTermination(async () => {
    const limitMs = config.SERVER_SHUTDOWN_TIMEOUT;
    if (gateway !== undefined) logger.info({ limit_ms: limitMs, requests: gateway.requests }, "draining");
    for (const close of closers.reverse()) await close();
    if (gateway !== undefined) logger.info("closed");
  });
  const { SERVER_PORT: port, SERVER_HOST: host } = config;
  await checkListenAddress({ port, host, portVariable: "SERVER_PORT", hostVariable: "SERVER_HOST" });
  const ports = await openPorts({ redisUrl: url, busSecret: meshSecrets(config), logger, role: "gateway" });
  closers.push(() => ports.close());
  const mesh = joinMesh({ service: "gateway", config, logger });
  closers.push(() => mesh.close());
  // Each after the parts it depends on: /ready reports the first that fails.
  const parts = {
    auth: { transport: mesh.transport("auth", config.AUTH_ADDR), services: publicServices.auth },
    conversation: { transport: mesh.transport("conversation", config.CONVERSATION_ADDR), services: publicServices.conversation },
    "tool-executor": { transport: mesh.transport("tool-executor", config.TOOL_ADDR), services: publicServices.tools },
    "agent-orchestrator": {
      transport: mesh.transport("agent-orchestrator", config.AGENT_ADDR, { windowBytes: streamWindowBytes }),
      services: publicServices.agent,
    },
  };
  const transports = new Map<DescService, Transport>(
    Object.values(parts).flatMap(({ transport, services }) => services.map((service) => [service, transport] as const)),
  );
  const created = await createGateway({
    config,
    services: [...transports.keys(), ...publicServices.gateway],
    transport: (service) => transports.get(service) as Transport,
    limiter: ports.limiter,
    concurrency: ports.concurrency,
    bus: ports.bus,
    checks: {
      redis: () => ports.ping(),
      ...Object.fromEntries(Object.entries(parts).map(([name, { transport }]) => [name, () => transport.checkHealth()])),
    },
    parts: Object.fromEntries(
      Object.entries(parts).map(([name, { transport }]) => [name, (limitMs: number) => transport.reports(limitMs)]),
    ),
    clocks: () => Object.fromEntries(Object.entries(parts).map(([name, { transport }]) => [name, transport.clocks()])),
    logger,
  });
  logUnhandledRejections(logger);
  closers.push(() => created.close());
  gateway = created;
  await created.listen();
}

/** Runs the gateway as a process of its own, configured by the environment. */
export async function runGateway(): Promise<void> {
  await start().catch(reportStartFailure);
}
