import { ConfigError } from "@turnwright/platform/config/env";
import { jwtSecrets } from "@turnwright/platform/config/jwt-env";
import { meshSecrets } from "@turnwright/platform/config/mesh-env";
import { createAccessTokenVerifier } from "@turnwright/platform/identity/access-token";
import type { KeySource } from "@turnwright/platform/identity/key-set";
import type { Logger } from "@turnwright/platform/logger";
import type { Bus } from "@turnwright/platform/ports/bus";
import { databasePing } from "@turnwright/platform/postgres/database-ping";
import { createIdempotency } from "@turnwright/platform/postgres/idempotency";
import { untilDatabaseAnswers } from "@turnwright/platform/postgres/patience";
import type { ServiceDatabase } from "@turnwright/platform/postgres/service-database";
import type { RunningService } from "@turnwright/platform/rpc/mount";
import { uuidv7 } from "@turnwright/platform/uuid";
import type pg from "pg";
import type { AuthConfig } from "./config.ts";
import { signingKeysTopic } from "./handlers/deps.ts";
import { authMounts } from "./handlers/mounts.ts";
import { startMaintenance } from "./maintenance.ts";
import { createRefreshChildren } from "./opaque-tokens.ts";
import { createPasswords, type Passwords } from "./passwords.ts";
import { loadSigningKeys } from "./signing-keys.ts";
import { hasAdmin, insertFirstAdmin } from "./store/users.ts";

export { type AuthConfig, authConfig } from "./config.ts";

/** The running auth service, and its public keys for servers in the same process. */
export interface Auth extends RunningService {
  readonly keySource: KeySource;
}

async function ensureAdmin(deps: { config: AuthConfig; pool: pg.Pool; passwords: Passwords; logger: Logger }): Promise<void> {
  const { ADMIN_EMAIL: email, ADMIN_PASSWORD: password } = deps.config;
  if (email === undefined && password === undefined) return;
  if (email === undefined) throw new ConfigError(["ADMIN_EMAIL: is required together with ADMIN_PASSWORD"]);
  if (password === undefined) throw new ConfigError(["ADMIN_PASSWORD: is required together with ADMIN_EMAIL"]);
  const passwordHash = await deps.passwords.inTurn({ address: "", account: email }, ({ hash }) => hash(password));
  const isNew = await insertFirstAdmin(deps.pool, { id: uuidv7(), email: email.toLowerCase(), passwordHash });
  if (isNew) deps.logger.info("the first admin account was created");
}

/**
 * Warns at start-up when nobody can log in or register: registration is not open, and no admin exists who could create
 * accounts or invites.
 */
async function warnWithoutAdmin({ config, pool, logger }: { config: AuthConfig; pool: pg.Pool; logger: Logger }): Promise<void> {
  if (config.REGISTRATION === "open" || (await hasAdmin(pool))) return;
  logger.warn(
    { registration: config.REGISTRATION },
    "registration is not open and there is no admin account: set ADMIN_EMAIL and ADMIN_PASSWORD, or run npm run admin -- promote",
  );
}

/**
 * Starts the auth service: loads or makes signing keys, creates the first admin, starts maintenance. `close` stops it;
 * the caller still has to end the database. The schema must be migrated.
 */
export async function startAuth(deps: {
  config: AuthConfig;
  database: ServiceDatabase;
  bus: Bus;
  logger: Logger;
}): Promise<Auth> {
  const { config, bus, logger } = deps;
  const { pool, users } = deps.database;
  const rule = {
    maxAgeSeconds: config.JWT_KEY_ROTATION / 1000,
    // By then everything that an older key signed has expired. One minute more covers clocks that differ.
    overlapSeconds: Math.max(config.JWT_ACCESS_TTL, 300_000) / 1000 + 60,
  };
  const keys = await untilDatabaseAnswers(logger, () => loadSigningKeys({ pool, rule, logger }));
  const keySource: KeySource = async () => keys.publicKeys();
  // The keys are in memory, so a key retired a moment ago must not verify.
  const accessTokens = createAccessTokenVerifier({ keys: keySource, secrets: jwtSecrets(config), maxAgeMs: 0 });
  const passwords = createPasswords();
  await untilDatabaseAnswers(logger, () => ensureAdmin({ config, pool, passwords, logger }));
  await untilDatabaseAnswers(logger, () => warnWithoutAdmin({ config, pool, logger }));
  const stopMaintenance = startMaintenance({ pool, keys, logger });
  const unsubscribe = await bus.subscribe(signingKeysTopic, () => {
    keys.refresh().catch((error: unknown) => logger.warn({ err: error }, "signing keys could not be refreshed"));
  });
  return {
    keySource,
    mounts: authMounts({
      config,
      pool,
      users,
      bus,
      keys,
      passwords,
      refreshChildren: createRefreshChildren(meshSecrets(config)),
      idempotency: createIdempotency({ secrets: meshSecrets(config) }),
      accessTokens,
    }),
    ready: databasePing(pool),
    report: () => ({ registration: config.REGISTRATION }),
    async close() {
      stopMaintenance();
      await unsubscribe();
    },
  };
}
