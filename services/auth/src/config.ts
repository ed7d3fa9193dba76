import { duration, integer, port, secret } from "@turnwright/platform/env";
import { grpcEnv } from "@turnwright/platform/mesh-env";
import { postgresEnv } from "@turnwright/platform/postgres";
import { redisEnv } from "@turnwright/platform/redis-env";
import { z } from "zod";

/** The environment of the auth service. */
export const authConfig = z.object({
  ...grpcEnv,
  ...postgresEnv,
  ...redisEnv,
  GRPC_PORT: port(9101),
  /** Signs access tokens with HS256; unset: EdDSA with keys of our own. */
  JWT_SECRET: secret(),
  JWT_ACCESS_TTL: duration("15m"),
  JWT_REFRESH_TTL: duration("168h"),
  /** Age at which a signing key is replaced; it verifies until what it signed has ended. */
  JWT_KEY_ROTATION: duration("720h"),
  /** The first admin: created at start-up unless the account exists. Both or none. */
  ADMIN_EMAIL: z.email().optional(),
  ADMIN_PASSWORD: z.string().min(12, "must have at least 12 characters").max(128).optional(),
  /** Limits of sessions, and of API keys that ask for none. */
  RATE_LIMIT_PER_MINUTE: integer(60, { min: 1 }),
  RATE_LIMIT_PER_DAY: integer(10_000, { min: 1 }),
});

/** The parsed environment. */
export type AuthConfig = z.output<typeof authConfig>;
