import type { AddressInfo } from "node:net";
import type { DescService, Message, Registry } from "@bufbuild/protobuf";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { loadConfig } from "@turnwright/platform/config/env";
import { createLogger } from "@turnwright/platform/logger";
import type { FastifyRequest } from "fastify";
import { LiveCalls } from "../src/admission/live-calls.ts";
import { gatewayConfig } from "../src/config.ts";
import { admittedRpc, rpcPlugin } from "../src/rpc/rpc-plugin.ts";
import { createServer } from "../src/server.ts";
import { alice } from "./gateway.ts";

/** The public plane in front of handlers of this process, which admits every call. */
export interface ConformanceGateway {
  readonly port: number;
  close(): Promise<void>;
}

/** The message and the HTTP request of a call, for a handler of the service. */
export function callOf(context: HandlerContext): { readonly message: Message; readonly request: FastifyRequest } {
  return admittedRpc(context);
}

/** Serves a service on the public plane: its server and its RPC plugin, with handlers in place of the mesh. */
export async function startConformanceGateway(options: {
  service: DescService;
  impl: ServiceImpl<DescService>;
  registry: Registry;
  /** Largest message, in bytes. */
  messageBytes: number;
}): Promise<ConformanceGateway> {
  const logger = createLogger({ service: "gateway", level: "silent" });
  const config = loadConfig(gatewayConfig, {
    SERVER_HOST: "127.0.0.1",
    SERVER_PORT: "0",
    SERVER_SHUTDOWN_TIMEOUT: "1s",
    MESH_SECRET: "m".repeat(32),
    JWT_SECRET: "a secret of more than thirty-two characters",
  });
  const liveCalls = new LiveCalls();
  const app = await createServer({ config, logger, liveCalls, open: new Map(), quietMs: 50 });
  const caller = { identity: alice, internalToken: "internal" };
  await app.register(
    rpcPlugin({
      routes: (router) => router.service(options.service, options.impl),
      admission: {
        liveCalls,
        authenticator: { authenticate: () => caller, hasEnded: () => false, revoke() {}, forget() {} },
        limits: { takeAddress: async () => {}, takeToken: async () => {}, takeSlot: () => undefined },
      },
      bodyLimit: () => options.messageBytes,
      registry: options.registry,
      logger,
    }),
  );
  await app.listen({ port: 0, host: "127.0.0.1" });
  return { port: (app.server.address() as AddressInfo).port, close: () => app.close() };
}
