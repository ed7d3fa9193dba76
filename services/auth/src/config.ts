import { duration, integer, port } from "@turnwright/platform/config/env";
import { jwtEnv } from "@turnwright/platform/config/jwt-env";
import { grpcEnv } from "@turnwright/platform/config/mesh-env";
import { postgresEnv } from "@turnwright/platform/config/postgres-env";
import { redisEnv } from "@turnwright/platform/config/redis-env";
import { z } from "zod";
import type { AccountDefaults } from "./store/credentials.ts";

/** The environment of the auth service. */
export const authConfig = z.object({
  ...grpcEnv,
  ...postgresEnv,
  ...redisEnv,
  GRPC_PORT: port(9101),
  ...jwtEnv,
  JWT_ACCESS_TTL: duration("15m"),
  JWT_REFRESH_TTL: duration("168h"),
  /** Age at which a signing key is replaced. It continues to verify until everything that it signed has expired. */
  JWT_KEY_ROTATION: duration("720h"),
  /** How people may register: freely, with an admin's invite, or not at all. */
  REGISTRATION: z.enum(["open", "invite", "closed"]).default("open"),
  /** The first admin, created at start-up unless the account exists. Set both or neither. */
  ADMIN_EMAIL: z.email().optional(),
  ADMIN_PASSWORD: z.string().min(12, "must have at least 12 characters").max(128).optional(),
  /** Requests a minute of all sessions of an account; 0: 600, or RATE_LIMIT_PER_MINUTE if that is higher. */
  RATE_LIMIT_SESSION_PER_MINUTE: integer(0, { max: 1_000_000_000 }),
  /** Limits of each API key that asks for no limits, and the most that a login can give to one. */
  RATE_LIMIT_PER_MINUTE: integer(60, { min: 1 }),
  RATE_LIMIT_PER_DAY: integer(10_000, { min: 1 }),
  /** Limits of an account over all its sessions and keys, unless an admin has set others; 0: no limit. */
  RATE_LIMIT_ACCOUNT_PER_MINUTE: integer(0, { max: 1_000_000 }),
  RATE_LIMIT_ACCOUNT_PER_DAY: integer(0, { max: 1_000_000_000 }),
  RATE_LIMIT_ACCOUNT_CONCURRENT: integer(0, { max: 100_000 }),
  /** The most whole US dollars that an account may spend on models in all; 0: no ceiling. */
  SPEND_LIMIT_ACCOUNT_USD: integer(0, { max: 1_000_000 }),
});

/** The parsed environment. */
export type AuthConfig = z.output<typeof authConfig>;

/** Requests a minute of sessions unless the configuration says otherwise: a page makes one per view. */
const sessionPerMinute = 600;

/** Requests a minute of all sessions of an account. */
export function sessionLimit(config: Pick<AuthConfig, "RATE_LIMIT_SESSION_PER_MINUTE" | "RATE_LIMIT_PER_MINUTE">): number {
  return config.RATE_LIMIT_SESSION_PER_MINUTE || Math.max(sessionPerMinute, config.RATE_LIMIT_PER_MINUTE);
}

/** The limits of accounts without limits of their own. */
export function accountDefaults(config: AuthConfig): AccountDefaults {
  return {
    perMinute: config.RATE_LIMIT_ACCOUNT_PER_MINUTE,
    perDay: config.RATE_LIMIT_ACCOUNT_PER_DAY,
    concurrent: config.RATE_LIMIT_ACCOUNT_CONCURRENT,
    spendMicros: config.SPEND_LIMIT_ACCOUNT_USD * 1_000_000,
  };
}
