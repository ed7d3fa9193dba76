import { ApiKeyService } from "@turnwright/contract/auth/v1/api_key_service";
import { AuthService } from "@turnwright/contract/auth/v1/auth_service";
import { TokenService } from "@turnwright/contract/auth/v1/token_service";
import { createAccessTokenVerifier } from "@turnwright/platform/access-token";
import type { Logger } from "@turnwright/platform/logger";
import type { Bus } from "@turnwright/platform/ports/bus";
import { mount, type RunningService } from "@turnwright/platform/service";
import type { KeySource } from "@turnwright/platform/tokens";
import type pg from "pg";
import type { AuthConfig } from "./config.ts";
import { createPasswords } from "./passwords.ts";
import { apiKeyHandlers, authHandlers, tokenHandlers } from "./service.ts";
import { createSigningKeys } from "./signing-keys.ts";

export { type AuthConfig, authConfig } from "./config.ts";

/** The auth service, with its public keys for servers in the same process. */
export interface Auth extends RunningService {
  readonly keySource: KeySource;
}

/** Makes the auth service on a pool of its schema, which stays the caller's to end. The schema is migrated before. */
export async function createAuth(deps: { config: AuthConfig; pool: pg.Pool; bus: Bus; logger: Logger }): Promise<Auth> {
  const { config, pool, bus } = deps;
  const keys = await createSigningKeys(pool);
  const keySource: KeySource = async () => keys.publicKeys();
  const verifyAccessToken = createAccessTokenVerifier({ keys: keySource, secret: config.JWT_SECRET });
  const handlers = { config, pool, bus, keys, passwords: createPasswords(), verifyAccessToken };
  return {
    keySource,
    mounts: [
      mount(AuthService, authHandlers(handlers)),
      mount(ApiKeyService, apiKeyHandlers(handlers)),
      mount(TokenService, tokenHandlers(handlers)),
    ],
    async ready() {
      await pool.query("select 1");
    },
    async close() {},
  };
}
