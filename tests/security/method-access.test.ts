import type { DescMethod, Message } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";
import { Access } from "@turnwright/contract/auth/v1/access";
import { type Identity, IdentitySchema, Role, TokenType } from "@turnwright/contract/auth/v1/identity";
import { describeProtos } from "@turnwright/contract/described-protos";
import { ErrorReason, reasonName, reasonOf } from "@turnwright/platform/errors";
import { hashArguments, signGrant } from "@turnwright/platform/identity/grant";
import { internalTokenHeader, serviceTokenHeader } from "@turnwright/platform/identity/identity";
import { createInternalTokenVerifier, signInternalToken } from "@turnwright/platform/identity/internal-token";
import { createServiceTokenSource, createServiceTokenVerifier } from "@turnwright/platform/identity/service-token";
import { createLogger } from "@turnwright/platform/logger";
import { createInProcessTransport } from "@turnwright/platform/rpc/in-process";
import { accessInterceptor, accessOf, callersOf, errorInterceptor, scopesOf } from "@turnwright/platform/rpc/interceptors";
import { mount } from "@turnwright/platform/rpc/mount";
import { once } from "@turnwright/platform/rpc/plane";
import { type CryptoKey, exportJWK, generateKeyPair, type JWK } from "jose";
import { beforeAll, describe, expect, test } from "vitest";
import { guardFaults, nameOf, serviceNames, services } from "./contract-services.ts";

const meshSecret = "a-secret-of-32-characters-for-tests";
const foreignSecret = "another-secret-of-32-characters-!!";
const logger = createLogger({ service: "test", level: "silent" });

/** Answers every call that is let through: the guards under test precede the handlers. */
const open = services.map((service) =>
  mount(
    service,
    Object.fromEntries(
      service.methods.map((method) => [
        method.localName,
        method.methodKind === "unary"
          ? () => ({})
          : async function* () {
              yield {};
            },
      ]),
    ) as never,
  ),
);

let transport: Transport;
let credentials: Record<string, Record<string, string>>;

async function keyPair(kid: string): Promise<{ privateKey: CryptoKey; kid: string; publicJwk: JWK }> {
  const { privateKey, publicKey } = await generateKeyPair("EdDSA", { extractable: true });
  return { privateKey, kid, publicJwk: { ...(await exportJWK(publicKey)), kid, alg: "EdDSA", use: "sig" } };
}

beforeAll(async () => {
  const [own, foreign] = [await keyPair("own"), await keyPair("own")];
  transport = createInProcessTransport({
    mounts: open,
    interceptors: [
      errorInterceptor(logger),
      accessInterceptor({
        internalTokens: createInternalTokenVerifier(async () => ({ keys: [own.publicJwk] })),
        serviceTokens: createServiceTokenVerifier(meshSecret),
      }),
    ],
  });
  const identity = (role: Role, init: Partial<Omit<Identity, "$typeName">> = {}) =>
    create(IdentitySchema, {
      userId: crypto.randomUUID(),
      tokenId: crypto.randomUUID(),
      tokenType: TokenType.ACCESS,
      role,
      ...init,
    });
  const inAMinute = Math.floor(Date.now() / 1000) + 60;
  const internal = async (role: Role, key = own, end = inAMinute) => ({
    [internalTokenHeader]: await signInternalToken(key, identity(role), end),
  });
  const keyWith = async (scopes: string[], init: { role?: Role; tokenType?: TokenType; through?: string } = {}) => {
    const { role = Role.USER, tokenType = TokenType.API_KEY, through = "gateway" } = init;
    const token = await signInternalToken(own, identity(role, { tokenType, scopes }), inAMinute);
    return { [internalTokenHeader]: token, ...(await service(through)) };
  };
  const service = async (name: string, secret = meshSecret) => ({
    [serviceTokenHeader]: await createServiceTokenSource(secret, name)(),
  });
  const grant = await signGrant(meshSecret, {
    runId: crypto.randomUUID(),
    epoch: 1,
    callId: "c",
    tool: "t",
    toolVersion: "1",
    argumentsHash: hashArguments("{}"),
  });
  credentials = {
    nothing: {},
    "user without a service": await internal(Role.ADMIN),
    ...Object.fromEntries(
      await Promise.all(
        serviceNames.flatMap((name) =>
          [Role.USER, Role.AGENT, Role.ADMIN].map(async (role) => {
            const headers = { ...(await internal(role)), ...(await service(name)) };
            return [`${roleNames[role]} through ${name}`, headers] as const;
          }),
        ),
      ),
    ),
    ...Object.fromEntries(
      await Promise.all(
        scopeNames.map(async (scope) => [`key with ${scope}`, await keyWith([scope])] as [string, Record<string, string>]),
      ),
    ),
    "key with unheard-of": await keyWith(["unheard-of"]),
    "key without scopes": await keyWith([]),
    "admin's key without scopes": await keyWith([], { role: Role.ADMIN }),
    "token of no kind": await keyWith([], { tokenType: TokenType.UNSPECIFIED }),
    "session with scopes": await keyWith(["unheard-of"], { tokenType: TokenType.ACCESS }),
    "key of no use through agent-orchestrator": await keyWith(["unheard-of"], { through: "agent-orchestrator" }),
    "internal token of another key": await internal(Role.ADMIN, foreign),
    "internal token that has ended": await internal(Role.ADMIN, own, Math.floor(Date.now() / 1000) - 3600),
    "internal token as service token": { [serviceTokenHeader]: (await internal(Role.ADMIN))[internalTokenHeader] as string },
    "service token as internal token": { [internalTokenHeader]: (await service("gateway"))[serviceTokenHeader] as string },
    "service token of another mesh": await service("agent-orchestrator", foreignSecret),
    "service that there is not": await service("intruder"),
    "grant as internal token": { [internalTokenHeader]: grant },
    "grant as service token": { [serviceTokenHeader]: grant },
    ...Object.fromEntries(await Promise.all(serviceNames.map(async (name) => [`service ${name}`, await service(name)] as const))),
  };
});

const roleNames: Readonly<Partial<Record<Role, string>>> = { [Role.USER]: "user", [Role.AGENT]: "agent", [Role.ADMIN]: "admin" };
/** All scopes that methods name. */
const scopeNames = [...new Set(services.flatMap((one) => one.methods.flatMap(scopesOf)))].sort();

const refusedEverywhere = new Set(["internal token as service token", "service token of another mesh", "grant as service token"]);

/** `answered`, or the name of the reason of the refusal. */
async function call(method: DescMethod, headers: Record<string, string>): Promise<string> {
  const input = create(method.input) as Message;
  try {
    if (method.methodKind === "unary") await transport.unary(method as never, undefined, undefined, headers, input);
    else {
      const response = await transport.stream(method as never, undefined, undefined, headers, once(input) as never);
      for await (const _ of response.message as AsyncIterable<unknown>);
    }
    return "answered";
  } catch (error) {
    return reasonName(reasonOf(error)).replace("ERROR_REASON_", "");
  }
}

/** Whether a credential that names no service comes from the gateway. */
const comesByGateway = (credential: string) => /^(?:key |admin's key |session |token of no kind)/.test(credential);

/** Further refusals of credentials: callers renew their tokens, so one that has ended shows clocks that differ. */
const refusals: Readonly<Record<string, readonly string[]>> = { "internal token that has ended": ["CLOCK_SKEW"] };

/** Whether the proto lets this credential call the method. */
function mayCall(method: DescMethod, credential: string): boolean {
  const through = / through (.+)$/.exec(credential)?.[1];
  const service = /^service (.+)$/.exec(credential)?.[1];
  switch (accessOf(method)) {
    case Access.PUBLIC:
      // A forged token is refused even where none is needed.
      return !refusedEverywhere.has(credential);
    case Access.USER: {
      const scopes = scopesOf(method);
      if (credential.endsWith("without scopes") || credential === "token of no kind") return scopes.length > 0;
      const scope = /^key with (.+)$/.exec(credential)?.[1];
      if (scope !== undefined) return scopes.includes(scope);
      return through !== undefined && callersOf(method).includes(through);
    }
    case Access.ADMIN:
      return through !== undefined && callersOf(method).includes(through) && credential.startsWith("admin");
    case Access.SERVICE:
      return callersOf(method).includes(through ?? service ?? (comesByGateway(credential) ? "gateway" : ""));
    default:
      return false;
  }
}

describe("every method of every service, bypassing the gateway", () => {
  test("is in the matrix", () => {
    const known = services.map((service) => service.typeName).sort();
    const inProtos = describeProtos()
      .services.map((service) => service.typeName)
      .filter((name) => name.startsWith("turnwright."))
      .sort();
    expect(known).toEqual(inProtos);
  });

  test("declares its callers", () => {
    expect(guardFaults(services)).toEqual([]);
  });

  test("answers the callers in its proto and refuses every other credential", async () => {
    let cells = 0;
    const wrong: string[] = [];
    for (const method of services.flatMap((service) => service.methods)) {
      for (const [credential, headers] of Object.entries(credentials)) {
        const answer = await call(method, headers);
        const isRight = mayCall(method, credential)
          ? answer === "answered"
          : ["UNAUTHENTICATED", "INVALID_TOKEN", "PERMISSION_DENIED", ...(refusals[credential] ?? [])].includes(answer);
        if (!isRight) wrong.push(`${nameOf(method)} × ${credential}: ${answer}`);
        cells += 1;
      }
    }
    expect(wrong).toEqual([]);
    console.log(`method × credential: ${cells} cells, ${wrong.length} wrong`);
    expect(cells).toBe(services.flatMap((service) => service.methods).length * Object.keys(credentials).length);
  });

  test("cannot be added without an access rule", async () => {
    const { services: added } = describeProtos(`
      syntax = "proto3";
      package turnwright.fixture.v1;
      import "google/api/annotations.proto";
      import "turnwright/auth/v1/access.proto";
      service Careless {
        rpc Forgotten(Nothing) returns (Nothing) { option (google.api.http) = {get: "/v1/forgotten"}; }
        rpc Anyone(Nothing) returns (Nothing) { option (turnwright.auth.v1.access) = ACCESS_SERVICE; }
        rpc Exposed(Nothing) returns (Nothing) {
          option (google.api.http) = {get: "/v1/exposed"};
          option (turnwright.auth.v1.access) = ACCESS_SERVICE;
          option (turnwright.auth.v1.callers) = "gateway";
        }
        rpc Unscoped(Nothing) returns (Nothing) { option (turnwright.auth.v1.access) = ACCESS_USER; }
        rpc Misplaced(Nothing) returns (Nothing) {
          option (turnwright.auth.v1.access) = ACCESS_ADMIN;
          option (turnwright.auth.v1.scopes) = "keys";
        }
      }
      message Nothing {}
    `);
    expect(guardFaults(added)).toEqual([
      "Careless.Forgotten declares no access",
      "Careless.Anyone names no calling services",
      "Careless.Exposed is for services but has a public path",
      "Careless.Unscoped names no scopes for keys",
      "Careless.Misplaced names scopes but is not for users",
    ]);
    const [careless] = added;
    const impl = { forgotten: () => ({}), anyone: () => ({}), exposed: () => ({}), unscoped: () => ({}), misplaced: () => ({}) };
    const unguarded = createInProcessTransport({
      mounts: [mount(careless as never, impl as never)],
      interceptors: [
        accessInterceptor({
          internalTokens: createInternalTokenVerifier(async () => ({ keys: [] })),
          serviceTokens: createServiceTokenVerifier(meshSecret),
        }),
      ],
    });
    for (const method of careless?.methods.slice(0, 2) ?? []) {
      const headers = credentials["service gateway"] as Record<string, string>;
      const refused = unguarded.unary(method as never, undefined, undefined, headers, create(method.input) as never);
      expect(reasonOf(await refused.catch((error: unknown) => error))).toBe(ErrorReason.PERMISSION_DENIED);
    }
  });
});
