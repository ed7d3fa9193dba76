import { ConfigError } from "../config/env.ts";
import { databaseUrl, type PostgresConfig } from "../config/postgres-env.ts";
import { MissingRightError } from "./role-setup.ts";

/** Codes of Node.js for certificates that TLS refuses. */
const certificateCode = /CERT|SELF_SIGNED|UNABLE_TO_VERIFY|ERR_TLS|ERR_SSL/;

/** The error that the driver or the server gave: the innermost cause. */
function rootOf(error: unknown): Error & { code?: unknown } {
  let root = error instanceof Error ? error : new Error(String(error));
  for (let depth = 0; depth < 8 && root.cause instanceof Error; depth++) root = root.cause;
  // Every address of the host refused.
  const first: unknown = root instanceof AggregateError ? root.errors[0] : undefined;
  return first instanceof Error ? first : root;
}

/** Whether a failed connection fails again until somebody changes the configuration or the server. */
export function isLastingFault(error: unknown): boolean {
  const { code, message } = rootOf(error);
  if (typeof code === "string" && certificateCode.test(code)) return true;
  if (["28P01", "28000", "3D000", "42501", "ENOTFOUND", "ENOENT", "EACCES"].includes(String(code))) return true;
  return /does not support SSL|SASL|client password must be a string|Invalid URL/.test(message);
}

/**
 * The fault of a configured database as one sentence that begins with the variables to change; undefined when the error
 * does not come from the connection or the rights of its login.
 */
export function explainDatabaseFault(error: unknown, config: PostgresConfig): ConfigError | undefined {
  const isUrl = config.DATABASE_URL !== undefined;
  const named = (...apart: string[]) => (isUrl ? "DATABASE_URL" : apart.join(", "));
  const { host, port, user, name } = partsOf(config);
  const server = host.startsWith("/") ? `the socket in ${host}` : `${host}:${port}`;
  const fault = (variables: string, text: string) => new ConfigError([`${variables}: ${text}`]);
  if (error instanceof MissingRightError) {
    return fault(error.message.includes("DB_ROLE_PREFIX") ? "DB_ROLE_PREFIX" : named("DB_USER"), error.message);
  }
  const root = rootOf(error);
  const words = root.message;
  const code = String(root.code);
  if ((root as { syscall?: unknown }).syscall === "open") return fault(named("DB_SSL_ROOT_CERT"), words);
  if (certificateCode.test(code)) {
    return fault(named("DB_SSL_MODE", "DB_SSL_ROOT_CERT"), `TLS to PostgreSQL at ${server} failed: ${words}`);
  }
  switch (code) {
    case "28P01":
      return fault(
        named("DB_USER", "DB_PASSWORD"),
        `PostgreSQL at ${server} refused the login ${user}: wrong password or no such login`,
      );
    case "28000":
      return fault(named("DB_USER", "DB_SSL_MODE"), `PostgreSQL at ${server} refused the login ${user}: ${words}`);
    case "3D000":
      return fault(
        named("DB_NAME"),
        `PostgreSQL at ${server} has no database ${name}; create it, or see npm run db:prepare -- --print`,
      );
    case "42501":
      return fault(named("DB_USER"), `the login ${user} lacks a right: ${words}; see npm run db:prepare -- --print`);
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return fault(named("DB_HOST"), `the host ${host} is unknown`);
    case "ENOENT":
    case "ECONNREFUSED":
      return fault(named("DB_HOST", "DB_PORT"), `no PostgreSQL accepts connections at ${server}`);
  }
  if (/does not support SSL/.test(words)) {
    return fault(named("DB_SSL_MODE"), `PostgreSQL at ${server} has no TLS; set it to disable, or switch ssl on there`);
  }
  if (/SASL|client password must be a string/.test(words)) {
    return fault(named("DB_PASSWORD"), `PostgreSQL at ${server} asks for a password of the login ${user}`);
  }
  if (/Invalid URL/.test(words)) return fault("DATABASE_URL", "expected postgres://user:password@host:port/database");
  if (/^(08|53|57P|E[A-Z]+$)/.test(code) || /timeout expired|Connection terminated/.test(words)) {
    return fault(named("DB_HOST", "DB_PORT"), `PostgreSQL at ${server} cannot be reached: ${words}`);
  }
  return undefined;
}

/** The parts of the configured database's address, for messages; never its password. */
function partsOf(config: PostgresConfig): { host: string; port: string; user: string; name: string } {
  const text = databaseUrl(config) ?? "";
  if (!URL.canParse(text)) return { host: "?", port: "?", user: "?", name: "?" };
  const url = new URL(text);
  const user = decodeURIComponent(url.username) || "of this system user";
  return {
    host: url.searchParams.get("host") ?? (url.hostname || "localhost"),
    port: url.port || url.searchParams.get("port") || "5432",
    user,
    name: decodeURIComponent(url.pathname.slice(1)) || user,
  };
}
