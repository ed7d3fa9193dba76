import type { AddressInfo } from "node:net";
import type { DescService } from "@bufbuild/protobuf";
import { createClient, type Transport } from "@connectrpc/connect";
import { CompletionService } from "@turnwright/contract/agent/v1/completion_service";
import { AuthService } from "@turnwright/contract/auth/v1/auth_service";
import { TokenService } from "@turnwright/contract/auth/v1/token_service";
import { jwtSecrets } from "@turnwright/platform/config/jwt-env";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { type RevocationListener, watchRevocations } from "@turnwright/platform/identity/revocations";
import type { Logger } from "@turnwright/platform/logger";
import type { Bus } from "@turnwright/platform/ports/bus";
import type { ConcurrencyLimiter } from "@turnwright/platform/ports/concurrency-limiter";
import type { RateLimiter } from "@turnwright/platform/ports/rate-limiter";
import { watchProcess } from "@turnwright/platform/process/process-figures";
import { bodyLimitOf } from "./admission/admit.ts";
import { createAuthenticator } from "./admission/authentication.ts";
import { countingFailures } from "./admission/failed-renewals.ts";
import { createLimits } from "./admission/limits.ts";
import { LiveCalls } from "./admission/live-calls.ts";
import type { PartClocks } from "./clocks.ts";
import type { GatewayConfig } from "./config.ts";
import { type OpenRequests, stopAccepting } from "./connections/drain.ts";
import type { DualProtocolServer } from "./connections/protocols.ts";
import { loadConsole } from "./console/built-console.ts";
import { consolePlugin } from "./console/console-plugin.ts";
import { discoveryRoutes, discoveryRule } from "./discovery/routes.ts";
import { createServingStatus } from "./discovery/serving-status.ts";
import { docsPlugin } from "./docs.ts";
import { createReadiness, healthPlugin, type ReadinessChecks } from "./health.ts";
import { openAiPlugin } from "./openai/openai-plugin.ts";
import { proxyRoutes } from "./rpc/proxy-routes.ts";
import { rpcPlugin } from "./rpc/rpc-plugin.ts";
import { createServer } from "./server.ts";
import { withOwnServices } from "./system/own-services.ts";
import type { Parts } from "./system/parts.ts";
import { restPlugin } from "./transcoding/rest-plugin.ts";

export { admit } from "./admission/admit.ts";
export { createAuthenticator } from "./admission/authentication.ts";
export { LiveCalls } from "./admission/live-calls.ts";
export { type GatewayConfig, gatewayConfig, gatewayProcessConfig } from "./config.ts";
export { publicServices } from "./public-services.ts";

/** Largest message that asks for health or reflection, in bytes: a name. */
const discoveryBytes = 4_096;

/** Dependencies of the gateway. */
export interface GatewayDeps {
  readonly config: GatewayConfig;
  /** The services whose annotated methods are public. */
  readonly services: readonly DescService[];
  /** Returns the transport to a service. */
  readonly transport: (service: DescService) => Transport;
  readonly limiter: RateLimiter;
  readonly concurrency: ConcurrencyLimiter;
  readonly bus: Bus;
  readonly checks: ReadinessChecks;
  /** The clocks of the parts, as of the last checks. */
  readonly clocks?: () => PartClocks;
  /** The parts of the mesh, which tell about themselves; none unless given. */
  readonly parts?: Parts;
  readonly logger: Logger;
  /** Silence after which `close` closes a connection, in milliseconds; 1,000 unless given. */
  readonly quietMs?: number;
}

/** The public plane. */
export interface Gateway {
  /** Starts to follow revocations and to listen; resolves to the bound port. */
  listen(): Promise<{ port: number }>;
  /** Requests and streams whose responses are not complete. */
  readonly requests: number;
  /** Stops accepting, lets requests and streams end within the configured time, then cuts them. */
  close(): Promise<void>;
}

/**
 * Creates the gateway: REST and server-sent events, the OpenAI surface, Connect, gRPC-web and gRPC, API docs, health.
 * Nothing runs before `listen`.
 */
export async function createGateway(deps: GatewayDeps): Promise<Gateway> {
  const { config, services } = deps;
  const tokens = createClient(TokenService, deps.transport(TokenService));
  const authenticator = createAuthenticator({ tokens, jwtSecrets: jwtSecrets(config) });
  const liveCalls = new LiveCalls();
  const revocations: RevocationListener = {
    onRevoked(tokenId) {
      authenticator.revoke(tokenId);
      liveCalls.revoke(tokenId);
    },
    onGap: () => authenticator.forget(),
  };
  const limits = createLimits({
    limiter: deps.limiter,
    concurrency: deps.concurrency,
    enabled: config.RATE_LIMIT_ENABLED,
    addressPerMinute: config.RATE_LIMIT_AUTH_PER_MINUTE,
  });
  const admission = { authenticator, limits, liveCalls };
  const measured = watchProcess();
  const served = withOwnServices({ ...deps, tokens, parts: deps.parts ?? {}, figures: () => measured.figures() });
  const transport = (service: DescService) =>
    service === AuthService ? countingFailures(served(service), limits) : served(service);
  const open: OpenRequests = new Map();
  const app = await createServer({ config, logger: deps.logger, liveCalls, open, quietMs: deps.quietMs ?? 1_000 });
  const callTimeoutMs = config.SERVER_CALL_TIMEOUT;
  const heartbeatMs = config.SSE_HEARTBEAT;
  let isClosing = false;
  const self = async () => {
    if (isClosing) throw fail(ErrorReason.UNAVAILABLE, "The gateway is shutting down.");
  };
  const readiness = createReadiness({ checks: deps.checks, clocks: deps.clocks, self, logger: deps.logger });
  await app.register(healthPlugin(readiness));
  await app.register(docsPlugin);
  await app.register(
    consolePlugin({
      built: loadConsole(config.CONSOLE_DIR, deps.logger),
      auth: createClient(AuthService, transport(AuthService)),
      limits,
      callTimeoutMs,
    }),
  );
  await app.register(
    restPlugin({ services, transport, admission, bodyLimit: config.SERVER_BODY_LIMIT, callTimeoutMs, heartbeatMs }),
  );
  await app.register(
    openAiPlugin({
      completions: createClient(CompletionService, transport(CompletionService)),
      transport: transport(CompletionService),
      admission,
      bodyLimit: config.SERVER_BODY_LIMIT,
      callTimeoutMs,
      heartbeatMs,
    }),
  );
  const rpcBytes = config.SERVER_BODY_LIMIT * 2;
  await app.register(
    rpcPlugin({
      routes: proxyRoutes({ services, transport, callTimeoutMs }),
      admission,
      bodyLimit: (rule) => bodyLimitOf(rule, rpcBytes),
      logger: deps.logger,
    }),
  );

  const serving = createServingStatus(readiness);
  const closing = new AbortController();
  const streamMs = config.SERVER_REQUEST_TIMEOUT * 0.6;
  await app.register(
    rpcPlugin({
      routes: discoveryRoutes({ services, reflection: config.SERVER_REFLECTION, serving, streamMs, closing: closing.signal }),
      ruleOf: (method, request) => discoveryRule(method, request, config.SERVER_REFLECTION),
      admission,
      bodyLimit: () => discoveryBytes,
      streamedBytes: discoveryBytes,
      logger: deps.logger,
    }),
  );

  let stopWatching: (() => Promise<void>) | undefined;
  return {
    async listen() {
      stopWatching = await watchRevocations({ tokens, bus: deps.bus, logger: deps.logger }, revocations);
      // The default 0.0.0.0 means every address; `::` accepts IPv4 as well, so that localhost works however it
      // resolves.
      const host = config.SERVER_HOST === "0.0.0.0" ? "::" : config.SERVER_HOST;
      try {
        await app.listen({ port: config.SERVER_PORT, host });
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (host !== "::" || (code !== "EAFNOSUPPORT" && code !== "EADDRNOTAVAIL")) throw error;
        await app.listen({ port: config.SERVER_PORT, host: "0.0.0.0" });
      }
      const { port } = app.server.address() as AddressInfo;
      deps.logger.info({ host, port }, "gateway is listening");
      return { port };
    },
    get requests() {
      return open.size;
    },
    async close() {
      isClosing = true;
      closing.abort();
      if (app.server.listening) await stopAccepting(app.server as DualProtocolServer);
      await app.close();
      await stopWatching?.();
      measured.stop();
    },
  };
}
