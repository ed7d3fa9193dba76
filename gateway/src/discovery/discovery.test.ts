import { create, createFileRegistry, type DescService, fromBinary } from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { type Identity, IdentitySchema, Role, TokenType } from "@turnwright/contract/auth/v1/identity";
import { UserService } from "@turnwright/contract/auth/v1/user_service";
import { ConversationService } from "@turnwright/contract/conversation/v1/conversation_service";
import { HealthCheckResponse_ServingStatus as Status } from "@turnwright/contract/grpc/health/v1/health";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { mount } from "@turnwright/platform/rpc/mount";
import { afterEach, describe, expect, test } from "vitest";
import { createDiscoveryClient, type DiscoveryClient } from "../../testing/discovery-client.ts";
import { alice, aliceKey, type Fixture, fakeTokens, startFixture } from "../../testing/gateway.ts";
import type { ReadinessChecks } from "../health.ts";

const readerKey = "sk-reader-0123456789abcdefghij";
const adminKey = "sk-admin-0123456789abcdefghijk";
const conversations = ConversationService.typeName;
const tokenService = "turnwright.auth.v1.TokenService";
const discovery = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];

const identityOf = (init: Partial<Identity>) =>
  create(IdentitySchema, { userId: alice.userId, tokenId: "0190a000-0000-7000-8000-000000000009", ...init } as Identity);

let gateway: Fixture;
let client: DiscoveryClient;

async function start(env: Record<string, string> = {}, checks: ReadinessChecks = {}): Promise<void> {
  const tokens = fakeTokens();
  const login = { role: Role.USER, tokenType: TokenType.ACCESS };
  tokens.known.set(readerKey, identityOf({ ...login, tokenType: TokenType.API_KEY, scopes: ["conversations:read"] }));
  tokens.known.set(adminKey, identityOf({ ...login, role: Role.ADMIN }));
  const served = (service: DescService) => mount(service, {} as never);
  const mounts = [served(ConversationService), served(UserService)];
  gateway = await startFixture({ mounts, tokens, env, checks });
  client = createDiscoveryClient(`127.0.0.1:${gateway.port}`);
}

afterEach(async () => {
  client.close();
  await gateway.close();
});

type Options = Parameters<DiscoveryClient["reflect"]>[1];

async function servicesOf(options: Options): Promise<string[]> {
  const [answer] = await client.reflect([{ case: "listServices", value: "*" }], options);
  if (answer?.case !== "listServicesResponse") throw new Error("no list");
  return answer.value.service.map(({ name }) => name);
}

/** The protos that a caller gets for a symbol, as a client would link them. */
async function protosOf(value: string, options: Options) {
  const [answer] = await client.reflect([{ case: "fileContainingSymbol", value }], options);
  if (answer?.case !== "fileDescriptorResponse") return undefined;
  const files = answer.value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
  const linked = new Set<FileDescriptorProto>();
  const link = (file: FileDescriptorProto | undefined) => {
    if (file === undefined) throw new Error("an import is missing");
    for (const name of file.dependency) link(files.find((one) => one.name === name));
    linked.add(file);
  };
  link(files[0]);
  return createFileRegistry(create(FileDescriptorSetSchema, { file: [...linked] }));
}

const methodsOf = (service: DescService | undefined) => service?.methods.map(({ name }) => name);

describe("reflection on the public port", () => {
  test.each(["v1", "v1alpha"] as const)("lists the services that its caller may call (%s)", async (version) => {
    await start();
    expect(await servicesOf({ token: readerKey, version })).toEqual([tokenService, conversations, ...discovery]);
    expect(await servicesOf({ token: adminKey, version })).toContain(UserService.typeName);
    expect(await servicesOf({ token: aliceKey, version })).not.toContain(UserService.typeName);
  });

  test("shows the methods that its caller may call, and no more of their files", async () => {
    await start();
    const reader = await protosOf(conversations, { token: readerKey });
    const shown = [
      "ListConversations",
      "GetConversation",
      "ListMessages",
      "GetMessageContent",
      "ListRuns",
      "GetRun",
      "ListApprovals",
      "GetApproval",
    ];
    expect(methodsOf(reader?.getService(conversations))).toEqual(shown);
    expect(reader?.getMessage("turnwright.conversation.v1.ListConversationsRequest")).toBeDefined();
    expect(reader?.getMessage("turnwright.conversation.v1.DeleteConversationRequest")).toBeUndefined();
    const all = await protosOf(conversations, { token: aliceKey });
    expect(methodsOf(all?.getService(conversations))).toEqual([
      ...shown.slice(0, 4),
      "UpdateConversation",
      "ForkConversation",
      "DeleteConversation",
      ...shown.slice(4),
    ]);
    expect(methodsOf((await protosOf(tokenService, { token: aliceKey }))?.getService(tokenService))).toEqual(["GetJwks"]);
    expect(await protosOf(`${tokenService}.GetJwks`, { token: aliceKey })).toBeDefined();
  });

  test.each([
    `${tokenService}.ExchangeToken`,
    "turnwright.auth.v1.ExchangeTokenRequest",
    UserService.typeName,
    "turnwright.auth.v1.Access",
    "turnwright.auth.v1.access",
  ])("hides %s from a user", async (symbol) => {
    await start();
    expect(await protosOf(symbol, { token: aliceKey })).toBeUndefined();
  });

  test("answers every question of a stream in order, also those it has no answer to", async () => {
    await start();
    const answers = await client.reflect(
      [
        { case: "fileByFilename", value: "grpc/health/v1/health.proto" },
        { case: "fileByFilename", value: "turnwright/auth/v1/user_service.proto" },
        { case: "fileContainingExtension", value: { containingType: "google.protobuf.MethodOptions", extensionNumber: 50102 } },
        { case: "allExtensionNumbersOfType", value: "google.protobuf.MethodOptions" },
        { case: undefined },
        { case: "fileContainingSymbol", value: "grpc.health.v1.Health" },
      ],
      { token: aliceKey },
    );
    const told = answers.map(({ case: name, value }) => (name === "errorResponse" ? value.errorCode : name));
    expect(told).toEqual(["fileDescriptorResponse", 5, 5, 5, 3, "fileDescriptorResponse"]);
  });

  test("asks for a credential before it reads", async () => {
    await start();
    await expect(servicesOf({})).rejects.toMatchObject({ code: 16 });
    await expect(servicesOf({ token: `${aliceKey}x` })).rejects.toMatchObject({ code: 16 });
  });

  test("counts against its caller's limit", async () => {
    await start();
    gateway.tokens.known.set(readerKey, identityOf({ tokenType: TokenType.API_KEY, role: Role.USER, rateLimitPerMinute: 1 }));
    expect(await servicesOf({ token: readerKey })).toContain(conversations);
    await expect(servicesOf({ token: readerKey })).rejects.toMatchObject({ code: 8 });
  });

  test("refuses a message that is longer than a name", async () => {
    await start();
    const long = client.reflect([{ case: "fileContainingSymbol", value: "a".repeat(5_000) }], { token: aliceKey });
    await expect(long).rejects.toMatchObject({ code: 8 });
  });

  test("shows all public methods to everyone where the operator says so", async () => {
    await start({ SERVER_REFLECTION: "everyone" });
    expect(await servicesOf({})).toContain(UserService.typeName);
    expect(await servicesOf({ token: aliceKey })).not.toContain(UserService.typeName);
    expect(methodsOf((await protosOf(tokenService, {}))?.getService(tokenService))).toEqual([
      "ListSigningKeys",
      "RotateSigningKey",
      "GetJwks",
    ]);
  });

  test("is unimplemented where the operator says so, and health is not", async () => {
    await start({ SERVER_REFLECTION: "off" });
    await expect(servicesOf({ token: aliceKey })).rejects.toMatchObject({ code: 12 });
    expect(await client.check("")).toMatchObject({ status: Status.SERVING });
  });

  test("ends a stream that is left open, before its request takes too long", async () => {
    await start({ SERVER_REQUEST_TIMEOUT: "500ms" });
    const { first, ended } = client.hold(aliceKey);
    await first;
    await ended;
  });

  test("ends its streams when the credential ends and when the server does", async () => {
    await start({ SERVER_SHUTDOWN_TIMEOUT: "60s" });
    const revoked = client.hold(aliceKey);
    const left = client.hold(adminKey);
    await Promise.all([revoked.first, left.first]);
    gateway.tokens.revoked.push(alice.tokenId);
    await expect(revoked.ended).rejects.toMatchObject({ code: 16 });
    await gateway.close();
    await left.ended;
  });
});

describe("gRPC health on the public port", () => {
  test("has the verdict of /ready for the server and each service, without a credential", async () => {
    let isUp = true;
    const check = async () => {
      if (!isUp) throw fail(ErrorReason.UNAVAILABLE, "no answer");
    };
    await start({}, { auth: check });
    for (const name of ["", conversations]) expect(await client.check(name)).toMatchObject({ status: Status.SERVING });
    await expect(client.check("turnwright.tool.v1.ExecutionService")).rejects.toMatchObject({ code: 5 });
    const watched = client.watch("");
    expect(await watched.next()).toBe(Status.SERVING);
    isUp = false;
    expect(await watched.next()).toBe(Status.NOT_SERVING);
    expect(await client.check(conversations)).toMatchObject({ status: Status.NOT_SERVING });
    isUp = true;
    expect(await watched.next()).toBe(Status.SERVING);
    watched.stop();
  });

  test("tells watchers that the server shuts down, and ends them", async () => {
    await start({ SERVER_SHUTDOWN_TIMEOUT: "60s" });
    const watched = client.watch(conversations);
    const unknown = client.watch("nobody");
    expect(await watched.next()).toBe(Status.SERVING);
    expect(await unknown.next()).toBe(Status.SERVICE_UNKNOWN);
    await gateway.close();
    expect(await watched.next()).toBe(Status.NOT_SERVING);
    expect(await watched.next()).toBeUndefined();
    expect(await unknown.next()).toBeUndefined();
  });
});
