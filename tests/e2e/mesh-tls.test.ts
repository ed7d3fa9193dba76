import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient } from "@connectrpc/connect";
import { credentials } from "@grpc/grpc-js";
import { TokenService } from "@turnwright/contract/auth/v1/token_service";
import { ErrorReason, reasonOf } from "@turnwright/platform/errors";
import { createServiceTokenSource } from "@turnwright/platform/identity/service-token";
import { expectService } from "@turnwright/platform/mesh-tls/service-certificate";
import { migratedServices } from "@turnwright/platform/postgres/migrations";
import { createGrpcTransport } from "@turnwright/platform/rpc/grpc-transport";
import { serviceCredentialsInterceptor } from "@turnwright/platform/rpc/interceptors";
import { createTestDatabase, type TestDatabase } from "@turnwright/testing/database";
import { testRedis } from "@turnwright/testing/redis";
import { createTestAuthority, type IssuedCertificate, writeCertificates } from "@turnwright/testing/test-certificates";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { restApi } from "./api.ts";
import { type System, startSystem } from "./system.ts";

const redis = await testRedis("a mesh of processes with mutual TLS");
const services = ["gateway", "auth", "conversation", "agent-orchestrator", "tool-executor"];
const secret = "the-secret-of-a-mesh-with-mutual-tls";

describe.skipIf(redis === undefined)("a mesh of processes with mutual TLS", () => {
  const directory = mkdtempSync(join(tmpdir(), "turnwright-mesh-tls-"));
  const authority = createTestAuthority();
  let database: TestDatabase;
  let system: System;

  beforeAll(async () => {
    database = await createTestDatabase({ services: migratedServices });
    for (const service of services) writeCertificates(join(directory, service), authority, authority.issue({ service }));
    const path = (file: string) => join(directory, "{service}", file);
    system = await startSystem({
      shape: "mesh",
      env: {
        DATABASE_URL: database.url,
        DB_ROLE_PREFIX: "turnwright",
        REDIS_URL: redis ?? "",
        TURNWRIGHT_DATA_DIR: join(directory, "data"),
        MESH_SECRET: secret,
        MESH_TLS_CA: path("ca.crt"),
        MESH_TLS_CERT: path("service.crt"),
        MESH_TLS_KEY: path("service.key"),
      },
    });
  }, 120_000);

  afterAll(async () => {
    await system?.stop();
    await database?.drop();
    rmSync(directory, { recursive: true, force: true });
  });

  /** Calls a method of auth that only the gateway may call, with the mesh's secret and this certificate. */
  async function exchange(token: string, service: string, issued?: IssuedCertificate): Promise<unknown> {
    const [key, cert] = [issued?.key, issued?.cert].map((pem) => (pem === undefined ? null : Buffer.from(pem)));
    const channel = credentials.createSsl(Buffer.from(authority.cert), key, cert, { checkServerIdentity: expectService("auth") });
    const address = /auth\s+(127\.0\.0\.1:\d+)/.exec(system.log())?.[1] ?? "";
    const transport = createGrpcTransport({
      addresses: [address],
      interceptors: [serviceCredentialsInterceptor(createServiceTokenSource(secret, service))],
      tls: { credentials: channel, peer: "auth" },
    });
    try {
      return await createClient(TokenService, transport).exchangeToken({ token }, { timeoutMs: 5_000 });
    } catch (error) {
      return reasonOf(error);
    } finally {
      transport.close();
    }
  }

  test("answers stored and stateless chats, with and without tools, and refuses strangers", async () => {
    const api = restApi(system.baseUrl);
    const email = `tls-${randomUUID()}@example.com`;
    await api.register(email, "correct-horse-battery");
    const { accessToken } = await api.login(email, "correct-horse-battery");
    const chat = { model: "gpt-4o-mini", messages: [{ role: "user", content: "What is 1337 * 42?" }] };
    expect((await api.complete(accessToken, chat)).content).toMatch(/56,?154/);
    const conversation = await api.createConversation(accessToken, "What is 1337 * 42?");
    expect(conversation.response).toMatch(/56,?154/);
    expect((await api.sendMessage(accessToken, conversation.conversationId, "Thank you")).response.length).toBeGreaterThan(0);

    expect(await exchange(accessToken, "gateway", authority.issue({ service: "gateway" }))).toMatchObject({
      internalToken: expect.any(String),
    });
    expect(await exchange(accessToken, "gateway")).toBe(ErrorReason.UNAVAILABLE);
    expect(await exchange(accessToken, "gateway", createTestAuthority().issue({ service: "gateway" }))).toBe(
      ErrorReason.UNAVAILABLE,
    );
    expect(await exchange(accessToken, "gateway", authority.issue({ service: "conversation" }))).toBe(
      ErrorReason.PERMISSION_DENIED,
    );
    expect(await exchange(accessToken, "conversation", authority.issue({ service: "conversation" }))).toBe(
      ErrorReason.PERMISSION_DENIED,
    );
  });
});
