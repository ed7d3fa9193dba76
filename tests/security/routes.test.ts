import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { Access } from "@turnwright/contract/auth/v1/access";
import { IdentitySchema, Role } from "@turnwright/contract/auth/v1/identity";
import { describeProtos } from "@turnwright/contract/described-protos";
import { createServiceTokenSource, signGrant, signInternalToken } from "@turnwright/platform/tokens";
import { createTestDatabase, type TestDatabase } from "@turnwright/testing/database";
import { type CryptoKey, importJWK } from "jose";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type System, startSystem } from "../e2e/system.ts";
import { services } from "./contract-services.ts";
import { forgedAuthorizations } from "./forged-tokens.ts";
import { type PublicRoute, pathOf, publicRoutes, uncoveredIds } from "./public-routes.ts";

const meshSecret = "a-secret-of-32-characters-for-tests";
const password = "SecurePass123";
const routes = publicRoutes(services);
let dataDir: string;
let database: TestDatabase;
let db: pg.Client;
let system: System;

beforeAll(async () => {
  dataDir = mkdtempSync(join(tmpdir(), "turnwright-routes-"));
  database = await createTestDatabase({ services: [] });
  system = await startSystem({
    shape: "all-in-one",
    env: {
      TURNWRIGHT_DATA_DIR: dataDir,
      DATABASE_URL: database.url,
      MESH_SECRET: meshSecret,
      ADMIN_EMAIL: "root@example.com",
      ADMIN_PASSWORD: "a long first password",
      RATE_LIMIT_PER_DAY: "1000000",
    },
  });
  db = new pg.Client({ connectionString: database.url });
  await db.connect();
});
afterAll(async () => {
  await db.end();
  await system.stop();
  await database.drop();
  rmSync(dataDir, { recursive: true, force: true });
});

async function send(verb: string, path: string, authorization: string | undefined, body?: unknown) {
  const response = await fetch(system.baseUrl + path, {
    method: verb,
    headers: {
      ...(authorization === undefined ? {} : { authorization }),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await response.text();
  return { status: response.status, text, json: () => JSON.parse(text) };
}

const dataOf = async (answer: ReturnType<typeof send>) => (await answer).json().data;

let people = 0;
async function person() {
  const email = `person-${++people}@example.com`;
  const { user } = await dataOf(send("POST", "/v1/auth/register", undefined, { email, password, name: "P" }));
  const session = await dataOf(send("POST", "/v1/auth/login", undefined, { email, password }));
  return { userId: user.id as string, email, ...session, bearer: `Bearer ${session.access_token}` };
}

const admin = async () => {
  const login = { email: "root@example.com", password: "a long first password" };
  const session = await dataOf(send("POST", "/v1/auth/login", undefined, login));
  return { ...session, bearer: `Bearer ${session.access_token}` };
};

/** What a body needs to be accepted; the routes' own examples. */
const bodyOf = (route: PublicRoute) => (route.verb === "GET" || route.verb === "DELETE" ? undefined : (route.example ?? {}));

/** Makes what an id in a path names, for a tenant, and tells what it looks like to its owner. */
const makers: Record<string, (bearer: string) => Promise<{ id: string; look: () => Promise<string> }>> = {
  async conversation_id(bearer) {
    const message = "Send an HTTP request to https://example.com saying hello";
    const { conversation_id: id } = await dataOf(send("POST", "/v1/conversations", bearer, { message }));
    return { id, look: async () => (await send("GET", `/v1/conversations/${id}`, bearer)).text };
  },
  async api_key_id(bearer) {
    const { api_key: key } = await dataOf(send("POST", "/v1/api-keys", bearer, { name: "k" }));
    const look = async () => {
      const { api_keys: keys } = await dataOf(send("GET", "/v1/api-keys", bearer));
      return JSON.stringify(keys.find((one: { id: string }) => one.id === key.id));
    };
    return { id: key.id, look };
  },
  async session_id(bearer) {
    const read = async () => (await dataOf(send("GET", "/v1/auth/sessions", bearer))).sessions;
    const [session] = await read();
    return { id: session.id, look: async () => JSON.stringify((await read()).map((one: { id: string }) => one.id)) };
  },
  async user_id(bearer) {
    const read = async () => (await dataOf(send("GET", "/v1/auth/me", bearer))).user;
    return { id: (await read()).id, look: async () => JSON.stringify(await read()) };
  },
};

describe("every public route, as the protos have it", () => {
  it("is found, and each id in a path is covered", () => {
    expect(routes.length).toBeGreaterThanOrEqual(25);
    expect(uncoveredIds(routes, Object.keys(makers))).toEqual([]);
  });

  it("cannot be added without a tenant test for its ids", () => {
    const { services: added } = describeProtos(`
      syntax = "proto3";
      package turnwright.fixture.v1;
      import "google/api/annotations.proto";
      import "turnwright/auth/v1/access.proto";
      service Invoices {
        rpc GetInvoice(GetInvoiceRequest) returns (GetInvoiceRequest) {
          option (google.api.http) = {get: "/v1/invoices/{invoice_id}"};
          option (turnwright.auth.v1.access) = ACCESS_USER;
        }
      }
      message GetInvoiceRequest { string invoice_id = 1; }
    `);
    expect(uncoveredIds(publicRoutes(added), Object.keys(makers))).toEqual([
      "GET /v1/invoices/{invoice_id}: nothing makes a invoice_id of another tenant",
    ]);
  });

  it("shows and gives nothing of one tenant to another: the same 404 as for what does not exist", async () => {
    const [alice, bob] = [await person(), await person()];
    let cells = 0;
    for (const route of routes) {
      const [kind] = route.ids;
      if (kind === undefined) continue;
      const { id, look } = await (makers[kind] as (typeof makers)[string])(alice.bearer);
      const before = await look();
      const body = bodyOf(route);
      for (const stream of [undefined, true]) {
        const sent = stream === undefined || body === undefined ? body : { ...(body as object), stream };
        const theirs = await send(route.verb, pathOf(route, { [kind]: id }), bob.bearer, sent);
        const nobodys = await send(route.verb, pathOf(route, {}), bob.bearer, sent);
        const expected = route.access === Access.ADMIN ? 403 : 404;
        expect({ route: `${route.verb} ${route.template}`, status: theirs.status }).toMatchObject({ status: expected });
        expect(theirs.text).toBe(nobodys.text);
        cells += 1;
      }
      expect(await look()).toBe(before);
    }
    console.log(`route × tenant: ${cells} cells, 0 leaks`);
    expect(cells).toBeGreaterThanOrEqual(20);
  }, 60_000);

  it("lists nothing of another tenant", async () => {
    const [alice, bob] = [await person(), await person()];
    const ids = [alice.userId];
    for (const make of Object.values(makers)) ids.push((await make(alice.bearer)).id);
    for (const route of routes.filter((one) => one.verb === "GET" && one.ids.length === 0 && one.access !== Access.ADMIN)) {
      const { text } = await send("GET", route.template, bob.bearer);
      for (const id of ids) expect({ route: route.template, leaks: text.includes(id) }).toMatchObject({ leaks: false });
    }
  });

  it("is closed to every credential that is none, forged, ended or of another kind", async () => {
    const [alice, gone] = [await person(), await person()];
    const [{ api_key: revoked, key: revokedKey }, { key: orphanedKey }] = [
      await dataOf(send("POST", "/v1/api-keys", alice.bearer, { name: "revoked" })),
      await dataOf(send("POST", "/v1/api-keys", gone.bearer, { name: "orphaned" })),
    ];
    await send("DELETE", `/v1/api-keys/${revoked.id}`, alice.bearer);
    await db.query("update auth.users set is_active = false where id = $1", [gone.userId]);
    const loggedOut = await person();
    await send("POST", "/v1/auth/logout", loggedOut.bearer, {});
    const { rows } = await db.query("select kid, private_jwk from auth.signing_keys where retired_at is null");
    const key = { kid: rows[0].kid as string, privateKey: (await importJWK(rows[0].private_jwk, "EdDSA")) as CryptoKey };
    const identity = create(IdentitySchema, { userId: alice.userId, tokenId: crypto.randomUUID(), role: Role.ADMIN });
    const credentials: Record<string, string | undefined> = {
      nothing: undefined,
      ...forgedAuthorizations({
        accessToken: alice.access_token,
        refreshToken: alice.refresh_token,
        internalToken: await signInternalToken(key, identity, Math.floor(Date.now() / 1000) + 60),
        serviceToken: await createServiceTokenSource(meshSecret, "gateway")(),
        grant: await signGrant(meshSecret, { runId: "r", callId: "c", tool: "t", toolVersion: "1", argumentsHash: "h" }),
        revokedKey,
        jwks: (await send("GET", "/.well-known/jwks.json", undefined)).json(),
      }),
      "key of an account that is closed": `Bearer ${orphanedKey}`,
      "session of an account that is closed": gone.bearer,
      "session that was logged out": loggedOut.bearer,
    };
    // What was revoked by SQL reaches the gateway within a second.
    await expect.poll(async () => (await send("GET", "/v1/auth/me", gone.bearer)).status, { timeout: 3_000 }).toBe(401);
    const wrong: string[] = [];
    const guarded = routes.filter((one) => one.access !== Access.PUBLIC);
    let cells = 0;
    // Side by side: a token under a key that nobody knows waits until the keys were asked for again.
    await Promise.all(
      Object.entries(credentials).map(async ([name, authorization]) => {
        const answers = guarded.map((route) => send(route.verb, pathOf(route, {}), authorization, bodyOf(route)));
        for (const [i, { status, text }] of (await Promise.all(answers)).entries()) {
          const route = guarded[i] as PublicRoute;
          if (status !== 401 || !text.includes('"success":false'))
            wrong.push(`${route.verb} ${route.template} × ${name}: ${status}`);
          cells += 1;
        }
      }),
    );
    expect(wrong).toEqual([]);
    console.log(`credential × route: ${cells} cells of ${Object.keys(credentials).length} credentials, 0 let in`);
    expect(Object.keys(credentials).length).toBeGreaterThanOrEqual(50);
    expect((await send("GET", "/v1/auth/me", alice.bearer)).status).toBe(200);
  }, 60_000);

  it("is closed to users where it is for admins, and to an admin's API key", async () => {
    const [alice, root] = [await person(), await admin()];
    const { key } = await dataOf(send("POST", "/v1/api-keys", root.bearer, { name: "k" }));
    const forAdmins = routes.filter((route) => route.access === Access.ADMIN);
    expect(forAdmins.length).toBeGreaterThanOrEqual(5);
    for (const route of forAdmins) {
      for (const bearer of [alice.bearer, `Bearer ${key}`]) {
        const { status } = await send(route.verb, pathOf(route, { user_id: alice.userId }), bearer, bodyOf(route));
        expect({ route: route.template, status }).toMatchObject({ status: 403 });
      }
    }
    expect((await send("GET", "/v1/admin/users", root.bearer)).status).toBe(200);
  });
});
