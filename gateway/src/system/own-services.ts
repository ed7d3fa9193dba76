import type { DescService } from "@bufbuild/protobuf";
import type { Client, Transport } from "@connectrpc/connect";
import type { TokenService } from "@turnwright/contract/auth/v1/token_service";
import { InfoService } from "@turnwright/contract/system/v1/info_service";
import { SystemService } from "@turnwright/contract/system/v1/system_service";
import { meshSecrets } from "@turnwright/platform/config/mesh-env";
import { gatewayService } from "@turnwright/platform/identity/identity";
import { createInternalTokenVerifier } from "@turnwright/platform/identity/internal-token";
import { createServiceTokenSource, createServiceTokenVerifier } from "@turnwright/platform/identity/service-token";
import type { Logger } from "@turnwright/platform/logger";
import { createInProcessTransport } from "@turnwright/platform/rpc/in-process";
import { serverInterceptors, serviceCredentialsInterceptor } from "@turnwright/platform/rpc/interceptors";
import { mount } from "@turnwright/platform/rpc/mount";
import type { GatewayConfig } from "../config.ts";
import type { ReadinessChecks } from "../health.ts";
import { infoHandlers } from "./info.ts";
import type { Parts } from "./parts.ts";
import { systemHandlers } from "./system.ts";

/**
 * Adds the services that the gateway serves itself to a lookup of transports. Their calls pass the same checks as those
 * of any other part.
 */
export function withOwnServices(deps: {
  readonly config: GatewayConfig;
  readonly services: readonly DescService[];
  readonly transport: (service: DescService) => Transport;
  readonly tokens: Client<typeof TokenService>;
  readonly parts: Parts;
  readonly checks: ReadinessChecks;
  /** Figures of this process. */
  readonly figures: () => unknown;
  readonly logger: Logger;
}): (service: DescService) => Transport {
  const { config, services, tokens } = deps;
  const mounts = [
    mount(
      InfoService,
      infoHandlers({ parts: deps.parts, services, heartbeatMs: config.SSE_HEARTBEAT, bodyLimit: config.SERVER_BODY_LIMIT }),
    ),
    mount(SystemService, systemHandlers({ parts: deps.parts, checks: deps.checks, own: deps.figures })),
  ];
  const keys = async () => ({ keys: (await tokens.getJwks({}, { timeoutMs: 5_000 })).keys as never });
  const secrets = meshSecrets(config);
  const own = createInProcessTransport({
    mounts,
    interceptors: serverInterceptors({
      logger: deps.logger,
      internalTokens: createInternalTokenVerifier(keys),
      serviceTokens: createServiceTokenVerifier(secrets),
    }),
    clientInterceptors: [serviceCredentialsInterceptor(createServiceTokenSource(config.MESH_SECRET, gatewayService))],
  });
  const isOwn = new Set<DescService>(mounts.map(({ service }) => service));
  return (service) => (isOwn.has(service) ? own : deps.transport(service));
}
