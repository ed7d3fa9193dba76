import type { DescService } from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";
import { ConfigError, loadConfig } from "@turnwright/platform/env";
import { createLogger } from "@turnwright/platform/logger";
import { createPorts } from "@turnwright/platform/ports/ports";
import { onTermination, reportStartFailure } from "@turnwright/platform/process-lifecycle";
import { redisUrl } from "@turnwright/platform/redis-env";
import { meshTransport } from "@turnwright/platform/run-service";
import { gatewayProcessConfig } from "./config.ts";
import { createGateway } from "./index.ts";
import { publicServices } from "./public-services.ts";

async function start(): Promise<void> {
  const config = loadConfig(gatewayProcessConfig);
  const logger = createLogger({ service: "gateway", level: config.LOG_LEVEL });
  const url = redisUrl(config);
  if (url === undefined) throw new ConfigError(["REDIS_URL: separate processes need Redis for limits and revocations"]);
  const ports = await createPorts({ redisUrl: url, logger });
  const open = (addresses: readonly string[]) => meshTransport(addresses, { secret: config.MESH_SECRET, service: "gateway" });
  const parts = {
    auth: { transport: open(config.AUTH_ADDR), services: publicServices.auth },
    conversation: { transport: open(config.CONVERSATION_ADDR), services: publicServices.conversation },
    agent: { transport: open(config.AGENT_ADDR), services: publicServices.agent },
    tools: { transport: open(config.TOOL_ADDR), services: publicServices.tools },
  };
  const transports = new Map<DescService, Transport>(
    Object.values(parts).flatMap(({ transport, services }) => services.map((service) => [service, transport] as const)),
  );
  const gateway = await createGateway({
    config,
    services: [...transports.keys()],
    transport: (service) => transports.get(service) as Transport,
    limiter: ports.limiter,
    concurrency: ports.concurrency,
    bus: ports.bus,
    checks: {
      redis: () => ports.ping(),
      ...Object.fromEntries(Object.entries(parts).map(([name, { transport }]) => [name, () => transport.checkHealth()])),
    },
    logger,
  });
  await gateway.listen();
  onTermination(async () => {
    await gateway.close();
    for (const { transport } of Object.values(parts)) transport.close();
    await ports.close();
  });
}

await start().catch(reportStartFailure);
