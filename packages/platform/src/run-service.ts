import { createClient, type Transport } from "@connectrpc/connect";
import { TokenService } from "@turnwright/contract/auth/v1/token_service";
import type { z } from "zod";
import { ConfigError, loadConfig } from "./env.ts";
import { startGrpcServer } from "./grpc-server.ts";
import { createGrpcTransport, type GrpcTransport } from "./grpc-transport.ts";
import { serverInterceptors, serviceCredentialsInterceptor } from "./interceptors.ts";
import { createLogger, type Logger } from "./logger.ts";
import type { grpcEnv } from "./mesh-env.ts";
import { type MigratedService, migrate } from "./migrations.ts";
import { databaseUrl, type PostgresConfig } from "./postgres.ts";
import { onTermination, reportStartFailure } from "./process-lifecycle.ts";
import type { RunningService } from "./service.ts";
import { openServiceDatabase, type ServiceDatabase } from "./service-database.ts";
import { createInternalTokenVerifier, createServiceTokenSource, createServiceTokenVerifier, type KeySource } from "./tokens.ts";

/** A transport of a part to others, which proves who calls. */
export function meshTransport(addresses: readonly string[], credentials: { secret: string; service: string }): GrpcTransport {
  const source = createServiceTokenSource(credentials.secret, credentials.service);
  return createGrpcTransport({ addresses, interceptors: [serviceCredentialsInterceptor(source)] });
}

/** Auth's public keys, by RPC. */
export function remoteKeySource(transport: Transport): KeySource {
  const tokens = createClient(TokenService, transport);
  return async () => ({ keys: (await tokens.getJwks({}, { timeoutMs: 5_000 })).keys as never });
}

const readinessIntervalMs = 2_000;

type GrpcConfig = z.output<z.ZodObject<typeof grpcEnv>> & { GRPC_PORT: number };

/** What a service's `main.ts` gets to build it from. */
export interface ServiceContext<C> {
  readonly config: C;
  readonly logger: Logger;
  /** A transport to another part; closed with the service. */
  transport(addresses: readonly string[]): Transport;
}

async function start<C extends GrpcConfig>(
  options: { name: string; config: z.ZodType<C> & z.ZodObject },
  create: (
    context: ServiceContext<C>,
    database: ServiceDatabase | undefined,
  ) => Promise<RunningService & { keySource?: KeySource }>,
  schema?: MigratedService,
): Promise<void> {
  const config = loadConfig(options.config) as C;
  const logger = createLogger({ service: options.name, level: config.LOG_LEVEL });
  const closers: (() => Promise<void> | void)[] = [];
  const transport = (addresses: readonly string[]) => {
    const opened = meshTransport(addresses, { secret: config.MESH_SECRET, service: options.name });
    closers.push(() => opened.close());
    return opened;
  };
  let database: ServiceDatabase | undefined;
  if (schema !== undefined) {
    const postgres = config as unknown as PostgresConfig;
    const url = databaseUrl(postgres);
    if (url === undefined) throw new ConfigError(["DATABASE_URL: a service of its own needs a PostgreSQL; set it, or DB_HOST"]);
    await migrate({ url, service: schema, direction: "up", logger });
    const opened = openServiceDatabase({ url, schema, max: postgres.DB_MAX_OPEN_CONNS, logger });
    database = opened;
    closers.push(() => opened.end());
  }
  const service = await create({ config, logger, transport }, database);
  closers.push(() => service.close());
  const keys = service.keySource ?? remoteKeySource(transport(config.AUTH_ADDR));
  const server = await startGrpcServer({
    mounts: service.mounts,
    interceptors: serverInterceptors({
      logger,
      internalTokens: createInternalTokenVerifier(keys),
      serviceTokens: createServiceTokenVerifier(config.MESH_SECRET),
    }),
    host: config.GRPC_HOST,
    port: config.GRPC_PORT,
    logger,
  });
  const watch = setInterval(() => {
    service.ready().then(
      () => server.setServing(true),
      () => server.setServing(false),
    );
  }, readinessIntervalMs);
  onTermination(async () => {
    clearInterval(watch);
    await server.close();
    for (const close of closers.reverse()) await close();
  });
}

/** Runs a service without tables as a process of its own on the gRPC plane. */
export async function runService<C extends GrpcConfig>(
  options: { name: string; config: z.ZodType<C> & z.ZodObject },
  create: (context: ServiceContext<C>) => Promise<RunningService>,
): Promise<void> {
  await start(options, create).catch(reportStartFailure);
}

/** Runs a service with a schema in PostgreSQL, which it migrates first, as a process of its own on the gRPC plane. */
export async function runStoredService<C extends GrpcConfig & PostgresConfig>(
  options: { name: string; schema: MigratedService; config: z.ZodType<C> & z.ZodObject },
  create: (context: ServiceContext<C>, database: ServiceDatabase) => Promise<RunningService & { keySource?: KeySource }>,
): Promise<void> {
  await start(options, (context, database) => create(context, database as ServiceDatabase), options.schema).catch(
    reportStartFailure,
  );
}
