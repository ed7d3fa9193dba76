import { createPrivateKey, createPublicKey, type KeyObject, randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { migratedServices } from "@turnwright/platform/postgres/migrations";
import { createTestDatabase, openTestPool } from "@turnwright/testing/database";
import type pg from "pg";
import { type SystemOptions, startSystem } from "../e2e/system.ts";
import { claimsOf } from "./forge.ts";
import { type Answer, send } from "./requests.ts";

/** A port without a listener, and the only address of this machine that webhooks of the stage may reach. */
export const closedUrl = "http://127.0.0.1:1/hook";

/**
 * Password of the stage's accounts, and a hash of it with argon2id's least cost: a login verifies with the parameters
 * of the stored hash. A hash with the product's parameters takes some 30 ms of a processor.
 */
const accountPassword = {
  plain: "correct-horse-battery",
  hash: "$argon2id$v=19$m=8,t=1,p=1$aCf3b0re7RFD5d3W90ABhQ$z2CJrndMeuJ/l6n1w7EoAN4G4AcqXNoHPRfuT3PvKTU",
};

/** A logged-in account. */
export interface Account {
  readonly userId: string;
  readonly email: string;
  readonly password: string;
  readonly accessToken: string;
  readonly refreshToken: string;
  readonly sessionId: string;
}

/**
 * The key that signs the system's tokens. Attackers never have it; tests use it to forge tokens with a single fault.
 */
export interface SigningKey {
  readonly kid: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  readonly publicJwk: Record<string, unknown>;
}

/** A running system whose database is open to tests. */
export interface Stage {
  readonly baseUrl: string;
  readonly meshSecret: string;
  readonly database: pg.Pool;
  readonly admin: Account;
  /** Creates an account in the database, without the cost of its password, and logs it in. */
  account(role?: "user" | "admin"): Promise<Account>;
  /** Opens another session of an account. */
  login(account: Pick<Account, "email" | "password">): Promise<Account>;
  /** A REST call with a bearer token; returns `data`, throws on failure. */
  call<T>(method: string, path: string, token: string, body?: unknown): Promise<T>;
  signingKey(): Promise<SigningKey>;
  stop(): Promise<void>;
}

/** `data` of the response envelope; throws on failure. */
function dataOf<T>(what: string, answer: Answer): T {
  if (answer.status >= 300) throw new Error(`${what}: ${answer.status} ${answer.body}`);
  return (JSON.parse(answer.body) as { data: T }).data;
}

/** Starts a system on its own database, all in one process by default. */
export async function startStage({
  shape = "all-in-one",
  env = {},
}: {
  shape?: SystemOptions["shape"];
  env?: Readonly<Record<string, string>>;
} = {}): Promise<Stage> {
  const database = await createTestDatabase({ services: migratedServices });
  const dataDir = mkdtempSync(join(tmpdir(), "turnwright-security-"));
  const meshSecret = `mesh-${randomUUID()}-${randomUUID()}`;
  const adminLogin = { email: "admin@example.com", password: `admin-${randomUUID()}` };
  const system = await startSystem({
    shape,
    env: {
      DATABASE_URL: database.url,
      DB_ROLE_PREFIX: "turnwright",
      TURNWRIGHT_DATA_DIR: dataDir,
      MESH_SECRET: meshSecret,
      ADMIN_EMAIL: adminLogin.email,
      ADMIN_PASSWORD: adminLogin.password,
      RATE_LIMIT_PER_DAY: "10000000",
      WEBHOOK_ALLOWED_HOSTS: new URL(closedUrl).host,
      LOG_LEVEL: "warn",
      ...env,
    },
  });
  const { baseUrl } = system;
  const pool = openTestPool(database.url, 2);
  const post = async <T>(path: string, body: unknown): Promise<T> =>
    dataOf(path, await send(baseUrl, { method: "POST", path, body: JSON.stringify(body) }));

  const login: Stage["login"] = async ({ email, password }) => {
    const session = await post<{ access_token: string; refresh_token: string; user: { id: string } }>("/v1/auth/login", {
      email,
      password,
    });
    return {
      userId: session.user.id,
      email,
      password,
      accessToken: session.access_token,
      refreshToken: session.refresh_token,
      sessionId: String(claimsOf(session.access_token).sid),
    };
  };

  return {
    baseUrl,
    meshSecret,
    database: pool,
    admin: await login(adminLogin),
    login,
    async account(role = "user") {
      const id = randomUUID();
      const email = `${id}@example.com`;
      await pool.query("insert into auth.users (id, email, password_hash, name, role) values ($1, $2, $3, 'Tenant', $4)", [
        id,
        email,
        accountPassword.hash,
        role,
      ]);
      return login({ email, password: accountPassword.plain });
    },
    async call(method, path, token, body) {
      const headers = { authorization: `Bearer ${token}` };
      const answer = await send(baseUrl, { method, path, headers, body: body === undefined ? undefined : JSON.stringify(body) });
      return dataOf(`${method} ${path}`, answer);
    },
    async signingKey() {
      const { rows } = await pool.query<{ kid: string; private_jwk: object; public_jwk: Record<string, unknown> }>(
        "select kid, private_jwk, public_jwk from auth.signing_keys where retired_at is null order by created_at limit 1",
      );
      const [row] = rows;
      if (row === undefined) throw new Error("the system has no signing key");
      const privateKey = createPrivateKey({ key: row.private_jwk as never, format: "jwk" });
      return { kid: row.kid, privateKey, publicKey: createPublicKey(privateKey), publicJwk: row.public_jwk };
    },
    async stop() {
      await system.stop();
      await pool.end();
      await database.drop();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}
