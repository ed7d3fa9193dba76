import { createClient, type Transport } from "@connectrpc/connect";
import { TokenService } from "@turnwright/contract/auth/v1/token_service";
import type { z } from "zod";
import { ConfigError, loadConfig } from "../config/env.ts";
import { type grpcEnv, type meshEnv, meshSecrets } from "../config/mesh-env.ts";
import { databaseUrl, type PostgresConfig } from "../config/postgres-env.ts";
import { reasonOf } from "../errors.ts";
import { authService } from "../identity/identity.ts";
import { createInternalTokenVerifier } from "../identity/internal-token.ts";
import type { KeySource } from "../identity/key-set.ts";
import { createServiceTokenSource, createServiceTokenVerifier } from "../identity/service-token.ts";
import { createLogger, type Logger } from "../logger.ts";
import { meshTlsFaults, meshTlsPaths } from "../mesh-tls/certificate-files.ts";
import { type MeshTls, openMeshTls } from "../mesh-tls/mesh-tls.ts";
import type { MigratedService } from "../postgres/migrations.ts";
import { openSchema } from "../postgres/open-schema.ts";
import { openServiceDatabase, type ServiceDatabase } from "../postgres/service-database.ts";
import { type GrpcServer, startGrpcServer } from "../rpc/grpc-server.ts";
import { createGrpcTransport, type GrpcTransport } from "../rpc/grpc-transport.ts";
import { serverInterceptors, serviceCredentialsInterceptor } from "../rpc/interceptors.ts";
import type { RunningService } from "../rpc/mount.ts";
import { drainWithin, logUnhandledRejections, reportStartFailure } from "./lifecycle.ts";
import { checkListenAddress } from "./listening.ts";
import { watchProcess } from "./process-figures.ts";
import { type ReadinessWatch, watchReadiness } from "./readiness.ts";
import { useSmallBuffers } from "./small-buffers.ts";
import { onTermination } from "./termination.ts";

type MeshConfig = z.output<z.ZodObject<typeof meshEnv>>;

/** The least limit on a message between parts: results and histories grow independently of requests. */
const leastMessageBytes = 8_388_608;
/** Room for what a message holds beside a request body. */
const messageOverheadBytes = 65_536;

/** Largest message between parts, in bytes: every body that the gateway accepts fits. */
function messageBytesOf({ SERVER_BODY_LIMIT }: MeshConfig): number {
  return Math.max(leastMessageBytes, SERVER_BODY_LIMIT + messageOverheadBytes);
}

/** This part as a member of the mesh. */
export interface MeshMember {
  /** Its certificates; undefined when the mesh uses plain text. */
  readonly tls: MeshTls | undefined;
  /**
   * A transport to the instances of a service. It authenticates this part and, over TLS, requires the peer's
   * certificate.
   */
  transport(service: string, addresses: readonly string[], options?: { windowBytes?: number }): GrpcTransport;
  /** Closes the transports. */
  close(): void;
}

/** Joins the mesh under a part's name. Throws ConfigError when its certificates are unusable. */
export function joinMesh(options: { service: string; config: MeshConfig; logger: Logger }): MeshMember {
  const { service, config, logger } = options;
  useSmallBuffers();
  const paths = meshTlsPaths(config);
  const tls = paths === undefined ? undefined : openMeshTls({ paths, service, logger });
  const interceptors = [serviceCredentialsInterceptor(createServiceTokenSource(config.MESH_SECRET, service))];
  const maxMessageBytes = messageBytesOf(config);
  const opened: GrpcTransport[] = [];
  return {
    tls,
    transport(peer, addresses, { windowBytes } = {}) {
      const secured = tls && { credentials: tls.channelCredentials(peer), peer };
      const transport = createGrpcTransport({ addresses, interceptors, tls: secured, windowBytes, maxMessageBytes });
      opened.push(transport);
      return transport;
    },
    close() {
      for (const transport of opened) transport.close();
      tls?.close();
    },
  };
}

/** Fetches auth's public keys by RPC. */
export function remoteKeySource(transport: Transport): KeySource {
  const tokens = createClient(TokenService, transport);
  return async () => ({ keys: (await tokens.getJwks({}, { timeoutMs: 5_000 })).keys as never });
}

/**
 * Extra milliseconds for calls whose work was stopped at the limit, so that they return an error instead of being cut:
 * the last commit of a run that is handed over comes first.
 */
const farewellMs = 2_000;

type GrpcConfig = z.output<z.ZodObject<typeof grpcEnv>> & { GRPC_PORT: number };

/** The context from which a service's `main.ts` builds the service. */
export interface ServiceContext<C> {
  readonly config: C;
  readonly logger: Logger;
  /** A transport to the instances of another service; closed with this one. */
  transport(service: string, addresses: readonly string[]): Transport;
}

async function start<C extends GrpcConfig>(
  options: { name: string; config: z.ZodType<C> & z.ZodObject },
  create: (
    context: ServiceContext<C>,
    database: ServiceDatabase | undefined,
  ) => Promise<RunningService & { keySource?: KeySource }>,
  schema?: MigratedService,
): Promise<void> {
  const config = loadConfig(options.config, process.env, meshTlsFaults(options.name)) as C;
  const logger = createLogger({ service: options.name, level: config.LOG_LEVEL });
  const closers: (() => Promise<void> | void)[] = [];
  let service: RunningService | undefined;
  let server: GrpcServer | undefined;
  let watch: ReadinessWatch | undefined;
  // During the start-up it closes what is there by then.
  onTermination(async () => {
    watch?.stop();
    const limitMs = config.SERVER_SHUTDOWN_TIMEOUT;
    if (service !== undefined) logger.info({ limit_ms: limitMs, calls: server?.calls, ...service.underWay?.() }, "draining");
    await drainWithin(limitMs, (limit) => Promise.all([server?.close(limitMs + farewellMs), service?.drain?.(limit)]));
    for (const close of closers.reverse()) await close();
    if (service !== undefined) logger.info("closed");
  });
  const listenAddress = { port: config.GRPC_PORT, host: config.GRPC_HOST, portVariable: "GRPC_PORT", hostVariable: "GRPC_HOST" };
  await checkListenAddress(listenAddress);
  const mesh = joinMesh({ service: options.name, config, logger });
  closers.push(() => mesh.close());
  let database: ServiceDatabase | undefined;
  if (schema !== undefined) {
    const postgres = config as unknown as PostgresConfig;
    const url = databaseUrl(postgres);
    if (url === undefined)
      throw new ConfigError(["DATABASE_URL: a service in its own process needs PostgreSQL; set DATABASE_URL or DB_HOST"]);
    const opened = openServiceDatabase({
      ...(await openSchema({ config: postgres, url, schema, logger })),
      schema,
      max: postgres.DB_MAX_OPEN_CONNS,
      statementTimeoutMs: postgres.DB_STATEMENT_TIMEOUT,
      isPrepared: postgres.DB_PREPARED_STATEMENTS,
      logger,
    });
    database = opened;
    closers.push(() => opened.end());
  }
  const created = await create({ config, logger, transport: mesh.transport }, database);
  service = created;
  closers.push(() => created.close());
  const measured = watchProcess();
  closers.push(() => measured.stop());
  const keys = created.keySource ?? remoteKeySource(mesh.transport(authService, config.AUTH_ADDR));
  logUnhandledRejections(logger);
  const serving = await startGrpcServer({
    mounts: created.mounts,
    interceptors: serverInterceptors({
      logger,
      internalTokens: createInternalTokenVerifier(keys),
      serviceTokens: createServiceTokenVerifier(meshSecrets(config)),
    }),
    host: config.GRPC_HOST,
    port: config.GRPC_PORT,
    credentials: mesh.tls?.serverCredentials(),
    maxMessageBytes: messageBytesOf(config),
    details: () => created.details?.(),
    report: () => ({ ...measured.figures(), pools: database?.load(), ...created.report?.() }),
    logger,
  });
  server = serving;
  let isReady = true;
  watch = watchReadiness({
    ready: () => created.ready(),
    tell(fault) {
      serving.setServing(fault === undefined, fault === undefined ? undefined : reasonOf(fault));
      if (fault !== undefined && isReady) logger.warn({ err: fault }, "not ready");
      if (fault === undefined && !isReady) logger.info("ready again");
      isReady = fault === undefined;
    },
  });
}

/** Runs a service without tables as its own process on the gRPC plane. */
export async function runService<C extends GrpcConfig>(
  options: { name: string; config: z.ZodType<C> & z.ZodObject },
  create: (context: ServiceContext<C>) => Promise<RunningService>,
): Promise<void> {
  await start(options, create).catch(reportStartFailure);
}

/** Runs a service with a PostgreSQL schema as its own process on the gRPC plane; migrates the schema first. */
export async function runStoredService<C extends GrpcConfig & PostgresConfig>(
  options: { name: string; schema: MigratedService; config: z.ZodType<C> & z.ZodObject },
  create: (context: ServiceContext<C>, database: ServiceDatabase) => Promise<RunningService & { keySource?: KeySource }>,
): Promise<void> {
  await start(options, (context, database) => create(context, database as ServiceDatabase), options.schema).catch(
    reportStartFailure,
  );
}
