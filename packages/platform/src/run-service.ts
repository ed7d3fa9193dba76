import { createClient, type Transport } from "@connectrpc/connect";
import { TokenService } from "@turnwright/contract/auth/v1/token_service";
import type pg from "pg";
import { z } from "zod";
import { ConfigError, list, loadConfig } from "./env.ts";
import { startGrpcServer } from "./grpc-server.ts";
import { createGrpcTransport, type GrpcTransport } from "./grpc-transport.ts";
import { serverInterceptors, serviceCredentialsInterceptor } from "./interceptors.ts";
import { createLogger, type Logger, logLevels } from "./logger.ts";
import { type MigratedService, migrate } from "./migrations.ts";
import { createPool, databaseUrl, type PostgresConfig } from "./postgres.ts";
import type { RunningService } from "./service.ts";
import { createInternalTokenVerifier, createServiceTokenSource, createServiceTokenVerifier, type KeySource } from "./tokens.ts";

/** What every part of the mesh reads from the environment, to spread into its schema. */
export const meshEnv = {
  /** Shared by all parts; proves that a caller is one of them and signs approvals. */
  MESH_SECRET: z
    .string({ error: "is required: at least 32 random characters, the same for every part" })
    .min(32, "must have at least 32 characters"),
  /** Where auth is: `host:port`, several separated by commas, or `dns:///name:port`. */
  AUTH_ADDR: list("localhost:9101"),
  LOG_LEVEL: z.enum(logLevels).default("info"),
};

/** What a service on the gRPC plane reads beside that; it adds GRPC_PORT with its own default. */
export const grpcEnv = {
  ...meshEnv,
  GRPC_HOST: z.string().default("0.0.0.0"),
};

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

/** Prints what a start failed on: faults of the environment as a list, anything else as it is. */
export function reportStartFailure(error: unknown): void {
  if (!(error instanceof ConfigError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}

/** Runs `close` at the first SIGTERM or SIGINT and ends the process. */
export function onTermination(close: () => Promise<void>): void {
  let closing = false;
  const end = (signal: NodeJS.Signals) => {
    if (closing) process.exit(signal === "SIGINT" ? 130 : 143);
    closing = true;
    close().then(
      () => process.exit(0),
      (error) => {
        process.stderr.write(`${error instanceof Error ? error.stack : error}\n`);
        process.exit(1);
      },
    );
  };
  process.on("SIGTERM", end);
  process.on("SIGINT", end);
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
  create: (context: ServiceContext<C>, pool: pg.Pool | undefined) => Promise<RunningService & { keySource?: KeySource }>,
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
  let pool: pg.Pool | undefined;
  if (schema !== undefined) {
    const postgres = config as unknown as PostgresConfig;
    const url = databaseUrl(postgres);
    if (url === undefined) throw new ConfigError(["DATABASE_URL: a service of its own needs a PostgreSQL; set it, or DB_HOST"]);
    await migrate({ url, service: schema, direction: "up", logger });
    const opened = createPool({ url, max: postgres.DB_MAX_OPEN_CONNS, schema, applicationName: `turnwright-${schema}`, logger });
    pool = opened;
    closers.push(() => opened.end());
  }
  const service = await create({ config, logger, transport }, pool);
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
  create: (context: ServiceContext<C>, pool: pg.Pool) => Promise<RunningService & { keySource?: KeySource }>,
): Promise<void> {
  await start(options, (context, pool) => create(context, pool as pg.Pool), options.schema).catch(reportStartFailure);
}
