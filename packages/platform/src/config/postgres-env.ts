import { readFileSync } from "node:fs";
import { z } from "zod";
import { duration, flag, integer, port } from "./env.ts";
import { encodedStoreUrl } from "./store-url.ts";

/**
 * Environment variables of a process that uses PostgreSQL, to spread into its config schema. DATABASE_URL takes
 * precedence; the DB_* variables apply when DB_HOST is set. With neither, `databaseUrl` returns undefined.
 */
export const postgresEnv = {
  DATABASE_URL: z.string().refine(isDatabaseUrl, "expected postgres://user:password@host:port/database").optional(),
  DB_HOST: z.string().optional(),
  DB_PORT: port(5432),
  DB_USER: z.string().default("postgres"),
  DB_PASSWORD: z.string().default("postgres"),
  DB_NAME: z
    .string()
    .regex(/^[^/?#]+$/, "expected a name without the characters / ? #")
    .default("aiagent"),
  DB_SSL_MODE: z.enum(["disable", "require", "verify-ca", "verify-full"]).default("disable"),
  /** PEM file of the certificate authorities that `verify-ca` and `verify-full` trust; unset: those of Node.js. */
  DB_SSL_ROOT_CERT: z
    .string()
    .refine((path) => holdsCertificate(path), {
      error: ({ input }) => `${input} is no PEM file with certificates that can be read`,
    })
    .optional(),
  /** Prefix of the names of PostgreSQL roles, for each installation on a server its own. */
  DB_ROLE_PREFIX: z
    .string()
    .regex(/^[a-z][a-z0-9_]{0,42}$/, "expected a lower-case letter, then up to 42 lower-case letters, digits and underscores")
    .optional(),
  /** Connections of one process. */
  DB_MAX_OPEN_CONNS: integer(25, { min: 2, max: 10_000 }),
  /** Whether statements are prepared; a pooler that loses them (PgBouncer before 1.21) needs `off`. */
  DB_PREPARED_STATEMENTS: flag(true),
  /** Milliseconds after which the server aborts a statement; 0: never. */
  DB_STATEMENT_TIMEOUT: duration("30s", { never: true }),
};

function isDatabaseUrl(text: string): boolean {
  if (/^socket:\/\/|^\//.test(text)) return true;
  return /^postgres(ql)?:\/\//.test(text) && URL.canParse(encodedStoreUrl(text));
}

function holdsCertificate(path: string): boolean {
  try {
    return readFileSync(path, "utf8").includes("-----BEGIN CERTIFICATE-----");
  } catch {
    return false;
  }
}

/** The parsed part of a configuration that `postgresEnv` describes. */
export type PostgresConfig = z.output<z.ZodObject<typeof postgresEnv>>;

/** The URL of the configured database; undefined when none is configured and the embedded server is used. */
export function databaseUrl(config: PostgresConfig): string | undefined {
  if (config.DATABASE_URL !== undefined) return encodedStoreUrl(config.DATABASE_URL);
  if (config.DB_HOST === undefined) return undefined;
  const credentials = `${encodeURIComponent(config.DB_USER)}:${encodeURIComponent(config.DB_PASSWORD)}`;
  const query = new URLSearchParams();
  const isSocket = config.DB_HOST.startsWith("/");
  if (isSocket) query.set("host", config.DB_HOST);
  if (config.DB_SSL_MODE !== "disable") {
    // libpq's meaning of the modes: `require` encrypts without verification, `verify-ca` ignores the host's name.
    query.set("uselibpqcompat", "true");
    query.set(
      "sslmode",
      config.DB_SSL_MODE === "verify-ca" && config.DB_SSL_ROOT_CERT === undefined ? "verify-full" : config.DB_SSL_MODE,
    );
    // libpq lets `require` verify when there is a root certificate; here the mode alone decides.
    if (config.DB_SSL_MODE !== "require" && config.DB_SSL_ROOT_CERT !== undefined) {
      query.set("sslrootcert", config.DB_SSL_ROOT_CERT);
    }
  }
  const host = isSocket ? "localhost" : config.DB_HOST.includes(":") ? `[${config.DB_HOST}]` : config.DB_HOST;
  // The driver decodes the database's name by decodeURI, which keeps escapes of reserved characters.
  const suffix = query.size > 0 ? `?${query}` : "";
  return `postgres://${credentials}@${host}:${config.DB_PORT}/${encodeURI(config.DB_NAME)}${suffix}`;
}
