import { createHash, randomBytes, randomUUID } from "node:crypto";
import { type CallOptions, type Client, createClient, type Interceptor } from "@connectrpc/connect";
import { type Auth, authConfig, startAuth } from "@turnwright/auth";
import { ApiKeyService } from "@turnwright/contract/auth/v1/api_key_service";
import { AuthService } from "@turnwright/contract/auth/v1/auth_service";
import { TokenService } from "@turnwright/contract/auth/v1/token_service";
import { UserService } from "@turnwright/contract/auth/v1/user_service";
import { loadConfig } from "@turnwright/platform/config/env";
import { signAccessToken } from "@turnwright/platform/identity/access-token";
import { clientAddressHeader, internalTokenHeader } from "@turnwright/platform/identity/identity";
import { createInternalTokenVerifier } from "@turnwright/platform/identity/internal-token";
import { createServiceTokenSource, createServiceTokenVerifier } from "@turnwright/platform/identity/service-token";
import { createLogger, type Logger } from "@turnwright/platform/logger";
import type { Bus } from "@turnwright/platform/ports/bus";
import { createMemoryBus } from "@turnwright/platform/ports/bus-memory";
import { createPool } from "@turnwright/platform/postgres/pool";
import { openServiceDatabase } from "@turnwright/platform/postgres/service-database";
import { idempotencyKeyHeader } from "@turnwright/platform/rpc/idempotency-key";
import { createInProcessTransport } from "@turnwright/platform/rpc/in-process";
import { serverInterceptors, serviceCredentialsInterceptor } from "@turnwright/platform/rpc/interceptors";
import type pg from "pg";

const meshSecret = "a-mesh-secret-of-32-characters-or-more";
export const jwtSecret = "a-jwt-secret-of-32-characters-or-more!";

/** The password of every account of a stage. */
export const password = "SecurePass123";

/** The calls that a holder of a credential can try, whether or not the credential is still valid. */
export interface Caller {
  readonly auth: Client<typeof AuthService>;
  readonly keys: Client<typeof ApiKeyService>;
  readonly users: Client<typeof UserService>;
}

/** A session or API key. */
export interface Credential {
  /** The token id of its identities. */
  readonly tokenId: string;
  /** The bearer value for the gateway: an access token or an API key. */
  readonly bearer: string;
  /** Its holder at a replica, admitted before the race, like a call that a revocation overtakes. */
  at(replica: number): Caller;
}

/** An account with everything that a revocation may end. */
export interface Subject {
  readonly userId: string;
  readonly email: string;
  /** The session to end. Its refresh token `used` was replaced some time ago by `refreshToken`, which is valid. */
  readonly session: Credential & { readonly used: string; readonly refreshToken: string };
  /** Another session of the owner. */
  readonly owner: Credential;
  /** The key to end. It has created a key under `idempotencyKey`. */
  readonly key: Credential & { readonly idempotencyKey: string };
}

/** Two replicas of auth on one database. */
export interface RaceStage {
  readonly bus: Bus;
  readonly logger: Logger;
  /** Under the database owner's login, which sees everything. */
  readonly sql: pg.Pool;
  /** An admin, admitted a moment ago. */
  admin(): Promise<Credential>;
  /** A caller without a credential, from its own address. */
  anonymous(replica: number): Caller;
  /** Authenticated as a service of the mesh. */
  tokens(replica: number, service: "gateway" | "agent-orchestrator"): Client<typeof TokenService>;
  subject(): Promise<Subject>;
  stop(): Promise<void>;
}

export const replicas = 2;

export const sha256 = (text: string): Buffer => createHash("sha256").update(text).digest();

export const underKey = (key: string): CallOptions => ({ headers: { [idempotencyKeyHeader]: key } });

export async function startRaceStage(url: string): Promise<RaceStage> {
  const logger = createLogger({ service: "races", level: "silent" });
  const bus = createMemoryBus({ logger });
  const sql = createPool({ url, max: 8, schema: "auth", applicationName: "races", logger });
  const databases = Array.from({ length: replicas }, () => openServiceDatabase({ url, schema: "auth", max: 16, logger }));
  const config = loadConfig(authConfig, { MESH_SECRET: meshSecret, JWT_SECRET: jwtSecret });
  const auths: Auth[] = [];
  for (const database of databases) auths.push(await startAuth({ config, database, bus, logger }));

  const serviceTokens = createServiceTokenVerifier(meshSecret);
  const sources = {
    gateway: createServiceTokenSource(meshSecret, "gateway"),
    "agent-orchestrator": createServiceTokenSource(meshSecret, "agent-orchestrator"),
  };
  const planes = auths.map(({ mounts, keySource }) => ({
    mounts,
    interceptors: serverInterceptors({ logger, internalTokens: createInternalTokenVerifier(keySource), serviceTokens }),
  }));
  const transportOf = (replica: number, service: keyof typeof sources, headers: Record<string, string> = {}) => {
    const { mounts, interceptors } = planes[replica] as (typeof planes)[number];
    const addHeaders: Interceptor = (next) => (request) => {
      for (const [name, value] of Object.entries(headers)) request.header.set(name, value);
      return next(request);
    };
    const clientInterceptors = [addHeaders, serviceCredentialsInterceptor(sources[service])];
    return createInProcessTransport({ mounts, interceptors, clientInterceptors });
  };
  const callerWith = (replica: number, headers: Record<string, string>): Caller => {
    const transport = transportOf(replica, "gateway", headers);
    return {
      auth: createClient(AuthService, transport),
      keys: createClient(ApiKeyService, transport),
      users: createClient(UserService, transport),
    };
  };
  let addresses = 0;
  const nextAddress = () => {
    addresses += 1;
    return `10.${(addresses >> 16) & 255}.${(addresses >> 8) & 255}.${addresses & 255}`;
  };
  const tokens: RaceStage["tokens"] = (replica, service) => createClient(TokenService, transportOf(replica, service));
  const front = tokens(0, "gateway");
  const credentialOf = async (bearer: string): Promise<Credential> => {
    const { internalToken, identity } = await front.exchangeToken({ token: bearer });
    const headers = { [internalTokenHeader]: internalToken, [clientAddressHeader]: nextAddress() };
    const callers = auths.map((_auth, replica) => callerWith(replica, headers));
    return { tokenId: identity?.tokenId ?? "", bearer, at: (replica) => callers[replica] as Caller };
  };
  const anonymous = (replica: number) => callerWith(replica, { [clientAddressHeader]: nextAddress() });

  // One password hash, made once by the service itself, instead of a slow hash per account.
  const model = `${randomUUID()}@example.com`;
  const registered = await anonymous(0).auth.register({ email: model, password, name: "Model" });
  const { rows: models } = await sql.query<{ hash: string }>("select password_hash as hash from users where id = $1", [
    registered.user?.id,
  ]);
  const account = async (role: string) => {
    const userId = randomUUID();
    const email = `${userId}@example.com`;
    await sql.query("insert into users (id, email, password_hash, role) values ($1, $2, $3, $4)", [
      userId,
      email,
      models[0]?.hash,
      role,
    ]);
    return { userId, email };
  };
  const session = async (userId: string, role: string) => {
    const sessionId = randomUUID();
    const [used, refreshToken] = [0, 1].map(() => `rt-${randomBytes(32).toString("base64url")}`) as [string, string];
    const first = randomUUID();
    await sql.query(
      `insert into user_tokens (id, user_id, family_id, parent_id, token_type, token_hash, expires_at, rate_limit_per_minute,
         rate_limit_per_day, is_revoked, rotated_at)
       values ($1, $3, $4, null, 'refresh', $5, now() + interval '1 day', 1000, 1000, true, now() - interval '1 minute'),
              ($2, $3, $4, $1, 'refresh', $6, now() + interval '1 day', 1000, 1000, false, null)`,
      [first, randomUUID(), userId, sessionId, sha256(used), sha256(refreshToken)],
    );
    const access = { userId, sessionId, role, expiresAt: Date.now() + 900_000 };
    const credential = await credentialOf(await signAccessToken({ secret: jwtSecret }, access));
    return { ...credential, used, refreshToken };
  };
  const root = await account("admin");
  let admin = { credential: session(root.userId, "admin"), until: Date.now() + 60_000 };

  return {
    bus,
    logger,
    sql,
    admin() {
      // Internal tokens are valid for five minutes; races may take longer.
      if (Date.now() > admin.until) admin = { credential: session(root.userId, "admin"), until: Date.now() + 60_000 };
      return admin.credential;
    },
    anonymous,
    tokens,
    async subject() {
      const { userId, email } = await account("user");
      const [doomed, owner] = [await session(userId, "user"), await session(userId, "user")];
      const { key } = await owner.at(0).keys.createApiKey({ name: "the key" });
      const credential = await credentialOf(key);
      const idempotencyKey = randomUUID();
      await credential.at(0).keys.createApiKey({ name: "through key, before" }, underKey(idempotencyKey));
      return { userId, email, session: doomed, owner, key: { ...credential, idempotencyKey } };
    },
    async stop() {
      for (const auth of auths) await auth.close();
      for (const database of databases) await database.end();
      await sql.end();
    },
  };
}
