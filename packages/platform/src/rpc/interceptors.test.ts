import { create, createFileRegistry, type DescMethod, type DescService, setExtension } from "@bufbuild/protobuf";
import { EmptySchema, FileDescriptorSetSchema, file_google_protobuf_empty, MethodOptionsSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import { AgentService } from "@turnwright/contract/agent/v1/agent_service";
import { Access, access, callers } from "@turnwright/contract/auth/v1/access";
import { ApiKeyService } from "@turnwright/contract/auth/v1/api_key_service";
import { type Identity, Role } from "@turnwright/contract/auth/v1/identity";
import { TokenService } from "@turnwright/contract/auth/v1/token_service";
import { ConversationService } from "@turnwright/contract/conversation/v1/conversation_service";
import { SignJWT } from "jose";
import { describe, expect, test } from "vitest";
import { alice, createTestMesh, meshSecret, testClients, testMounts } from "../../testing/plane.ts";
import { detailOf, ErrorReason, fail, reasonOf } from "../errors.ts";
import { callerServiceKey, clientAddressHeader, identityKey, requestIdHeader, serviceTokenHeader } from "../identity/identity.ts";
import { createLogger } from "../logger.ts";
import { createInProcessTransport } from "./in-process.ts";
import { accessOf, callersOf } from "./interceptors.ts";
import { type Mount, mount } from "./mount.ts";

const mesh = await createTestMesh();

function clientsOf(service: string | undefined, mounts: readonly Mount[] = testMounts(), interceptors = mesh.server) {
  const clientInterceptors = service === undefined ? [] : mesh.client(service);
  const transport = createInProcessTransport({ mounts, interceptors, clientInterceptors });
  return { transport, ...testClients(transport) };
}

async function refusal(work: Promise<unknown>): Promise<{ reason: ErrorReason; message: string; param: string }> {
  const error = await work.then(
    () => new Error("The call was not refused."),
    (caught: unknown) => caught,
  );
  if (!(error instanceof ConnectError)) throw error;
  return { reason: reasonOf(error), message: error.rawMessage, param: detailOf(error)?.param ?? "" };
}

/** A service of one method with options that no proto of ours declares. */
function serviceWith(options: { access?: Access; callers?: string[] }): DescService {
  const methodOptions = create(MethodOptionsSchema);
  if (options.access !== undefined) setExtension(methodOptions, access, options.access);
  if (options.callers !== undefined) setExtension(methodOptions, callers, options.callers);
  const empty = `.${EmptySchema.typeName}`;
  const file = create(FileDescriptorSetSchema, {
    file: [
      file_google_protobuf_empty.proto,
      {
        name: "probe.proto",
        package: "probe",
        syntax: "proto3",
        dependency: [file_google_protobuf_empty.proto.name],
        service: [{ name: "Probe", method: [{ name: "Call", inputType: empty, outputType: empty, options: methodOptions }] }],
      },
    ],
  });
  const service = createFileRegistry(file).getService("probe.Probe");
  if (service === undefined) throw new Error("The service was not built.");
  return service;
}

async function callProbe(options: { access?: Access; callers?: string[] }, caller?: string): Promise<unknown> {
  const service = serviceWith(options);
  const { transport } = clientsOf(caller, [mount(service, { call: () => ({}) } as never)]);
  const method = service.methods[0] as DescMethod;
  return transport.unary(method as never, undefined, undefined, await mesh.userHeaders(), {} as never);
}

describe("access", () => {
  test("is denied to everybody where the method declares none", async () => {
    expect((await refusal(callProbe({}, "gateway"))).reason).toBe(ErrorReason.PERMISSION_DENIED);
    expect((await refusal(callProbe({ callers: ["gateway"] }, "gateway"))).reason).toBe(ErrorReason.PERMISSION_DENIED);
  });

  test("is denied to everybody where a method for services names no callers", async () => {
    expect((await refusal(callProbe({ access: Access.SERVICE }, "gateway"))).reason).toBe(ErrorReason.PERMISSION_DENIED);
    await expect(callProbe({ access: Access.SERVICE, callers: ["gateway"] }, "gateway")).resolves.toBeDefined();
  });

  test("to public methods requires no token", async () => {
    await expect(clientsOf(undefined).tokens.getJwks({})).resolves.toBeDefined();
  });

  test("for services needs the token of a service that the method names", async () => {
    await expect(clientsOf("gateway").tokens.exchangeToken({ token: "t" })).resolves.toBeDefined();
    const { reason, message } = await refusal(clientsOf("tool-executor").tokens.exchangeToken({ token: "t" }));
    expect(reason).toBe(ErrorReason.PERMISSION_DENIED);
    expect(message).toBe("tool-executor may not call turnwright.auth.v1.TokenService/ExchangeToken.");
    expect((await refusal(clientsOf(undefined).tokens.exchangeToken({ token: "t" }))).reason).toBe(ErrorReason.PERMISSION_DENIED);
  });

  test("for users needs the user's token and, beside it, the gateway's", async () => {
    const headers = await mesh.userHeaders();
    const message = { conversationId: "0190a000-0000-7000-8000-0000000000c0", message: "hi" };
    expect((await clientsOf("gateway").agent.sendMessage(message, { headers })).response).toBe("here: hi");
    expect((await refusal(clientsOf("gateway").agent.sendMessage(message))).reason).toBe(ErrorReason.UNAUTHENTICATED);
    expect((await refusal(clientsOf("conversation").agent.sendMessage(message, { headers }))).reason).toBe(
      ErrorReason.PERMISSION_DENIED,
    );
    expect((await refusal(clientsOf(undefined).agent.sendMessage(message, { headers }))).reason).toBe(
      ErrorReason.PERMISSION_DENIED,
    );
  });

  test("for admins is denied to users", async () => {
    const options = { access: Access.ADMIN };
    expect((await refusal(callProbe(options, "gateway"))).message).toBe("This call is for admins.");
    const service = serviceWith(options);
    const { transport } = clientsOf("gateway", [mount(service, { call: () => ({}) } as never)]);
    const headers = await mesh.userHeaders({ ...alice, role: Role.ADMIN });
    await expect(transport.unary(service.methods[0] as never, undefined, undefined, headers, {} as never)).resolves.toBeDefined();
  });

  test("accepts no token of another kind, secret or sender as a service token", async () => {
    const forged = await new SignJWT({})
      .setProtectedHeader({ alg: "HS256", typ: "turnwright-service+jwt" })
      .setIssuer("turnwright")
      .setAudience("turnwright.mesh")
      .setSubject("gateway")
      .setExpirationTime("5m")
      .sign(new TextEncoder().encode("another-secret-of-32-characters-here"));
    const grant = await new SignJWT({})
      .setProtectedHeader({ alg: "HS256", typ: "turnwright-grant+jwt" })
      .setIssuer("turnwright")
      .setAudience("turnwright.grant")
      .setSubject("gateway")
      .setExpirationTime("5m")
      .sign(new TextEncoder().encode(meshSecret));
    for (const token of [forged, grant, "garbage", ""]) {
      const call = clientsOf(undefined).tokens.exchangeToken({ token: "t" }, { headers: { [serviceTokenHeader]: token } });
      expect((await refusal(call)).reason).toBe(ErrorReason.INVALID_TOKEN);
    }
  });

  test("passes the verified identity and service to handlers", async () => {
    let seen: { identity?: Identity; service?: string } = {};
    const look: Interceptor = (next) => (request) => {
      seen = { identity: request.contextValues.get(identityKey), service: request.contextValues.get(callerServiceKey) };
      return next(request);
    };
    const clients = clientsOf("gateway", testMounts(), [...mesh.server, look]);
    await clients.tokens.exchangeToken({ token: "t" });
    expect(seen).toEqual({ identity: undefined, service: "gateway" });
    await clients.tokens.exchangeToken({ token: "t" }, { headers: await mesh.userHeaders() });
    expect(seen.identity?.userId).toBe(alice.userId);
  });

  test.each([
    ["the gateway", "gateway", "192.0.2.7"],
    ["another service", "agent-orchestrator", null],
    ["nobody of the mesh", undefined, null],
  ])("a public method hears of the client's address from %s: %s", async (_, service, expected) => {
    let address: string | null = "";
    const look: Interceptor = (next) => (request) => {
      address = request.header.get(clientAddressHeader);
      return next(request);
    };
    const { tokens } = clientsOf(service, testMounts(), [...mesh.server, look]);
    await tokens.getJwks({}, { headers: { [clientAddressHeader]: "192.0.2.7" } });
    expect(address).toBe(expected);
  });

  test("reads access and callers from the protos; user methods without callers are for the gateway", () => {
    expect(accessOf(TokenService.method.exchangeToken)).toBe(Access.SERVICE);
    expect(callersOf(TokenService.method.exchangeToken)).toEqual(["gateway"]);
    expect(callersOf(ApiKeyService.method.listApiKeys)).toEqual(["gateway"]);
    expect(callersOf(AgentService.method.sendMessage)).toEqual(["gateway"]);
    expect(callersOf(ConversationService.method.getConversation)).toEqual(["gateway", "agent-orchestrator"]);
  });
});

describe("validation", () => {
  test("names the invalid field of a unary or streamed request", async () => {
    const headers = await mesh.userHeaders();
    const { agent } = clientsOf("gateway");
    const unary = await refusal(agent.sendMessage({ conversationId: "no-uuid", message: "hi" }, { headers }));
    expect(unary).toMatchObject({ reason: ErrorReason.INVALID_REQUEST, param: "conversation_id" });
    expect(unary.message).toMatch(/^conversation_id: /);
    const stream = async () => {
      for await (const _event of agent.streamTurn({ message: "" }, { headers })) throw new Error("not refused");
    };
    expect(await refusal(stream())).toMatchObject({ reason: ErrorReason.INVALID_REQUEST, param: "message" });
  });
});

describe("errors", () => {
  function failing(error: unknown) {
    const lines: string[] = [];
    const logger = createLogger({ service: "test", level: "error", destination: { write: (line: string) => lines.push(line) } });
    const open = async () => {
      const own = await createTestMesh(logger);
      const mounts = [mount(TokenService, { getJwks: () => Promise.reject(error) } as never)];
      return createInProcessTransport({ mounts, interceptors: own.server });
    };
    const call = async () => testClients(await open()).tokens.getJwks({}, { headers: { [requestIdHeader]: "req-1" } });
    return { call, lines };
  }

  test("that are unexpected are logged once and leave without their message", async () => {
    const { call, lines } = failing(new Error("password=hunter2"));
    const error = await call().catch((caught: unknown) => caught);
    expect(reasonOf(error)).toBe(ErrorReason.INTERNAL);
    expect((error as ConnectError).rawMessage).not.toContain("hunter2");
    expect(detailOf(error)?.requestId).toBe("req-1");
    expect(lines).toHaveLength(1);
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({ msg: "unexpected error", method: "GetJwks", request_id: "req-1" });
  });

  test("thrown by a handler leave unchanged, with the request id", async () => {
    const { call, lines } = failing(fail(ErrorReason.NOT_FOUND, "No such thing.", { param: "id" }));
    const error = await call().catch((caught: unknown) => caught);
    expect(detailOf(error)).toMatchObject({ reason: ErrorReason.NOT_FOUND, param: "id", requestId: "req-1" });
    expect(lines).toEqual([]);
  });

  test("with a status of their own keep it", async () => {
    const { call, lines } = failing(new ConnectError("busy", Code.Unavailable));
    expect(await call().catch((caught: unknown) => caught)).toMatchObject({ code: Code.Unavailable, rawMessage: "busy" });
    expect(lines).toEqual([]);
  });
});
