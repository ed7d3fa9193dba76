import { type Client, createClient, type Interceptor } from "@connectrpc/connect";
import { ApiKeyService } from "@turnwright/contract/auth/v1/api_key_service";
import { AuditService } from "@turnwright/contract/auth/v1/audit_service";
import { AuthService } from "@turnwright/contract/auth/v1/auth_service";
import type { Identity } from "@turnwright/contract/auth/v1/identity";
import { InviteService } from "@turnwright/contract/auth/v1/invite_service";
import { type CheckApiKeysResponse, TokenService } from "@turnwright/contract/auth/v1/token_service";
import { SpendService, UsageService } from "@turnwright/contract/auth/v1/usage_service";
import { UserService } from "@turnwright/contract/auth/v1/user_service";
import { loadConfig } from "@turnwright/platform/config/env";
import { reasonName, reasonOf } from "@turnwright/platform/errors";
import { clientAddressHeader, clientAgentHeader, internalTokenHeader } from "@turnwright/platform/identity/identity";
import { createInternalTokenVerifier } from "@turnwright/platform/identity/internal-token";
import { createServiceTokenSource, createServiceTokenVerifier } from "@turnwright/platform/identity/service-token";
import { createLogger } from "@turnwright/platform/logger";
import type { Bus } from "@turnwright/platform/ports/bus";
import { createMemoryBus } from "@turnwright/platform/ports/bus-memory";
import { createPool } from "@turnwright/platform/postgres/pool";
import { openServiceDatabase } from "@turnwright/platform/postgres/service-database";
import { createInProcessTransport } from "@turnwright/platform/rpc/in-process";
import { serverInterceptors, serviceCredentialsInterceptor } from "@turnwright/platform/rpc/interceptors";
import { uuidv7 } from "@turnwright/platform/uuid";
import { createTestDatabase, type TestDatabase } from "@turnwright/testing/database";
import type pg from "pg";
import { type Auth, authConfig, startAuth } from "../src/index.ts";

const meshSecret = "a-secret-of-32-characters-for-tests";

/** Clients of a caller. */
export interface Caller {
  readonly auth: Client<typeof AuthService>;
  readonly keys: Client<typeof ApiKeyService>;
  readonly users: Client<typeof UserService>;
  readonly invites: Client<typeof InviteService>;
  readonly usage: Client<typeof UsageService>;
  readonly spend: Client<typeof SpendService>;
  readonly tokens: Client<typeof TokenService>;
  readonly audit: Client<typeof AuditService>;
  /** The token service as the orchestrator calls it. */
  readonly runTokens: Client<typeof TokenService>;
  /** The token service as the conversation service calls it. */
  readonly keyNames: Client<typeof TokenService>;
}

/** A user who has logged in. */
export interface Person extends Caller {
  readonly identity: Identity;
  readonly userId: string;
  readonly email: string;
  readonly accessToken: string;
  readonly refreshToken: string;
}

/** The auth service on a database of its own. */
export interface AuthFixture {
  readonly auth: Auth;
  readonly databaseUrl: string;
  /** A pool under the owner's login, which sees all rows. */
  readonly pool: pg.Pool;
  readonly bus: Bus;
  /** A caller without credentials, at an address, whose client has a name. */
  anonymous(address?: string, agent?: string): Caller;
  /** The caller behind an access token or API key, as the gateway would admit them. Rejects when the exchange does. */
  holder(token: string): Promise<Caller & { identity: Identity }>;
  /** Checks API keys and accounts as the conversation service does. */
  checkApiKeys(apiKeyIds: readonly string[], userIds?: readonly string[]): Promise<CheckApiKeysResponse>;
  /** Creates an account in the database, without the cost of its password, and logs it in. */
  person(init?: { role?: "admin" | "user" | "agent" }): Promise<Person>;
  /** Starts a further process on the same database. Stop it first. */
  replica(env: Record<string, string>): Promise<AuthFixture>;
  stop(): Promise<void>;
}

export const password = "SecurePass123";
/**
 * A hash of the password with argon2id's least cost: a login verifies with the parameters of the stored hash. One with
 * the service's parameters takes some 30 ms of a processor.
 */
const passwordHash = "$argon2id$v=19$m=8,t=1,p=1$Z1S+E2MEVM7YgQQ3FCHW+g$r/oRuATJ35y8RREPbdTdwP+4Gq8/vyzoundNUERqE8A";

/** The name of the reason why a call failed, or `no error`. */
export function refusalOf(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => "no error",
    (error: unknown) => reasonName(reasonOf(error)).replace("ERROR_REASON_", ""),
  );
}

/** Starts auth with these variables, on a database of its own or on a given one. */
export async function startAuthFixture(env: Record<string, string> = {}, given?: TestDatabase): Promise<AuthFixture> {
  const database = given ?? (await createTestDatabase({ services: ["auth"] }));
  const logger = createLogger({ service: "test", level: "silent" });
  const pool = createPool({ url: database.url, max: 10, schema: "auth", applicationName: "test", logger });
  const bus = createMemoryBus({ logger });
  const config = loadConfig(authConfig, { MESH_SECRET: meshSecret, ...env });
  const own = openServiceDatabase({ url: database.url, schema: "auth", max: 10, logger });
  const auth = await startAuth({ config, database: own, bus, logger }).catch(async (error: unknown) => {
    await Promise.all([own.end(), pool.end()]);
    throw error;
  });
  const interceptors = serverInterceptors({
    logger,
    internalTokens: createInternalTokenVerifier(auth.keySource),
    serviceTokens: createServiceTokenVerifier(meshSecret),
  });
  const transportAs = (service: string, headers: Record<string, string> = {}) => {
    const addHeaders: Interceptor = (next) => (request) => {
      for (const [name, value] of Object.entries(headers)) request.header.set(name, value);
      return next(request);
    };
    return createInProcessTransport({
      mounts: auth.mounts,
      interceptors,
      clientInterceptors: [addHeaders, serviceCredentialsInterceptor(createServiceTokenSource(meshSecret, service))],
    });
  };
  const callerWith = (headers: Record<string, string>): Caller => {
    const transport = transportAs("gateway", headers);
    return {
      auth: createClient(AuthService, transport),
      keys: createClient(ApiKeyService, transport),
      users: createClient(UserService, transport),
      invites: createClient(InviteService, transport),
      usage: createClient(UsageService, transport),
      spend: createClient(SpendService, transportAs("agent-orchestrator", headers)),
      tokens: createClient(TokenService, transport),
      audit: createClient(AuditService, transport),
      runTokens: createClient(TokenService, transportAs("agent-orchestrator", headers)),
      keyNames: createClient(TokenService, transportAs("conversation", headers)),
    };
  };
  const anonymous = (address = "192.0.2.1", agent = "") =>
    callerWith({ [clientAddressHeader]: address, ...(agent === "" ? {} : { [clientAgentHeader]: agent }) });
  const holder = async (token: string) => {
    const { internalToken, identity } = await anonymous().tokens.exchangeToken({ token });
    const headers = { [internalTokenHeader]: internalToken, [clientAddressHeader]: "192.0.2.1" };
    return { ...callerWith(headers), identity: identity as Identity };
  };
  let people = 0;
  return {
    auth,
    databaseUrl: database.url,
    pool,
    bus,
    anonymous,
    holder,
    checkApiKeys: (apiKeyIds, userIds = []) =>
      createClient(TokenService, transportAs("conversation")).checkApiKeys({ apiKeyIds: [...apiKeyIds], userIds: [...userIds] }),
    async person({ role = "user" } = {}) {
      const email = `person-${++people}@example.com`;
      const userId = uuidv7();
      await pool.query("insert into users (id, email, password_hash, name, role) values ($1, $2, $3, 'A person', $4)", [
        userId,
        email,
        passwordHash,
        role,
      ]);
      const { accessToken, refreshToken } = await anonymous().auth.login({ email, password });
      return { ...(await holder(accessToken)), userId, email, accessToken, refreshToken };
    },
    replica: (ofReplica) => startAuthFixture(ofReplica, { ...database, drop: async () => {} }),
    async stop() {
      await auth.close();
      await own.end();
      await pool.end();
      await database.drop();
    },
  };
}
