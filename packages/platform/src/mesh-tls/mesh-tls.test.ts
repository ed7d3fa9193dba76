import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ChannelCredentials, credentials, ServerCredentials } from "@grpc/grpc-js";
import { RunStatus } from "@turnwright/contract/conversation/v1/run";
import {
  type CertificateRequest,
  createTestAuthority,
  type IssuedCertificate,
  writeCertificates,
} from "@turnwright/testing/test-certificates";
import { afterEach, describe, expect, test } from "vitest";
import { createTestMesh, testClients, testMounts } from "../../testing/plane.ts";
import { ConfigError } from "../config/env.ts";
import { ErrorReason, reasonOf } from "../errors.ts";
import { startGrpcServer } from "../rpc/grpc-server.ts";
import { createGrpcTransport } from "../rpc/grpc-transport.ts";
import { meshTlsFaults } from "./certificate-files.ts";
import { type MeshTls, openMeshTls } from "./mesh-tls.ts";
import { expectService } from "./service-certificate.ts";

const mesh = await createTestMesh();
const authority = createTestAuthority();
const stranger = createTestAuthority();
const cleanups: (() => unknown)[] = [];
const timeoutMs = 10_000;
/** The time for which the client looks for an instance that lets it in. */
const patienceMs = 1_000;
const run = { runId: "0190a000-0000-7000-8000-0000000000b0", status: RunStatus.RUNNING };

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function directory(): string {
  const path = mkdtempSync(join(tmpdir(), "turnwright-tls-"));
  cleanups.push(() => rmSync(path, { recursive: true }));
  return path;
}

function open(service: string, issued = authority.issue({ service })): MeshTls {
  const tls = openMeshTls({ paths: writeCertificates(directory(), authority, issued), service, logger: mesh.logger });
  cleanups.push(() => tls.close());
  return tls;
}

async function serve(tls: MeshTls): Promise<string> {
  const server = await startGrpcServer({
    mounts: testMounts(),
    interceptors: mesh.server,
    host: "127.0.0.1",
    port: 0,
    logger: mesh.logger,
    credentials: tls.serverCredentials(),
  });
  cleanups.push(() => server.close(0));
  return `127.0.0.1:${server.port}`;
}

/** Clients that present the given certificates and send the service token of `service`. */
function clientsWith(address: string, service: string, channel: ChannelCredentials, peer = "auth") {
  const transport = createGrpcTransport({
    addresses: [address],
    interceptors: mesh.client(service),
    patienceMs,
    tls: { credentials: channel, peer },
  });
  cleanups.push(() => transport.close());
  return { transport, ...testClients(transport) };
}

const present = ({ cert, key }: IssuedCertificate, ca = authority) =>
  credentials.createSsl(Buffer.from(ca.cert), Buffer.from(key), Buffer.from(cert), {
    checkServerIdentity: expectService("auth"),
  });

async function reason(work: Promise<unknown>): Promise<ErrorReason> {
  const outcome = await work.catch((error: unknown) => error);
  if (!(outcome instanceof Error)) throw new Error("The call was not refused.");
  return reasonOf(outcome);
}

describe("mutual TLS", () => {
  test("answers a service that shows its certificate and sends its token", async () => {
    const address = await serve(open("auth"));
    const gateway = clientsWith(address, "gateway", open("gateway").channelCredentials("auth"));
    expect((await gateway.tokens.exchangeToken({ token: "t" }, { timeoutMs })).internalToken).toBe("here");
    await expect(gateway.transport.checkHealth()).resolves.toEqual({ serving: 1, failing: [] });
    const plain = clientsWith(address, "gateway", present(authority.issue({ service: "gateway" })));
    await expect(plain.tokens.exchangeToken({ token: "t" }, { timeoutMs })).resolves.toBeDefined();
  });

  test("accepts DNS names where there is no SPIFFE identity", async () => {
    const address = await serve(open("auth", authority.issue({ dnsNames: ["auth", "auth.mesh.internal"] })));
    const tls = open("gateway", authority.issue({ dnsNames: ["gateway"] }));
    const gateway = clientsWith(address, "gateway", tls.channelCredentials("auth"));
    await expect(gateway.tokens.exchangeToken({ token: "t" }, { timeoutMs })).resolves.toBeDefined();
  });

  const hour = 3_600_000;
  test.each<[string, () => ChannelCredentials]>([
    ["plain text", () => credentials.createInsecure()],
    [
      "no certificate",
      () => credentials.createSsl(Buffer.from(authority.cert), null, null, { checkServerIdentity: expectService("auth") }),
    ],
    ["a certificate of another authority", () => present(stranger.issue({ service: "gateway" }))],
    [
      "a certificate that has ended",
      () =>
        present(
          authority.issue({
            service: "gateway",
            notBefore: new Date(Date.now() - 2 * hour),
            notAfter: new Date(Date.now() - hour),
          }),
        ),
    ],
    [
      "a certificate that has not begun",
      () => present(authority.issue({ service: "gateway", notBefore: new Date(Date.now() + hour / 2) })),
    ],
  ])("refuses %s, calls and health checks alike", async (_what, channel) => {
    const address = await serve(open("auth"));
    const { tokens, transport } = clientsWith(address, "gateway", channel());
    const calls = [
      tokens.exchangeToken({ token: "t" }, { timeoutMs }),
      tokens.getJwks({}, { timeoutMs }),
      transport.checkHealth(),
    ];
    expect(await Promise.all(calls.map(reason))).toEqual(calls.map(() => ErrorReason.UNAVAILABLE));
  });

  test("refuses a token of another service than the certificate's, even on public methods", async () => {
    const address = await serve(open("auth"));
    const thief = clientsWith(address, "gateway", open("tool-executor").channelCredentials("auth"));
    expect(await reason(thief.tokens.exchangeToken({ token: "t" }, { timeoutMs }))).toBe(ErrorReason.PERMISSION_DENIED);
    expect(await reason(thief.tokens.getJwks({}, { timeoutMs }))).toBe(ErrorReason.PERMISSION_DENIED);
    expect(await reason(thief.agent.sendMessage({}, { timeoutMs, headers: await mesh.userHeaders() }))).toBe(
      ErrorReason.PERMISSION_DENIED,
    );
  });

  test("refuses the right certificate and token at a method that is not for its service", async () => {
    const address = await serve(open("auth"));
    const executor = clientsWith(address, "tool-executor", open("tool-executor").channelCredentials("auth"));
    expect(await reason(executor.tokens.exchangeToken({ token: "t" }, { timeoutMs }))).toBe(ErrorReason.PERMISSION_DENIED);
    expect(await reason(executor.tokens.mintInternalToken({}, { timeoutMs }))).toBe(ErrorReason.PERMISSION_DENIED);
    await expect(executor.tokens.getJwks({}, { timeoutMs })).resolves.toBeDefined();
  });

  test("distinguishes callers in a process that serves two services", async () => {
    const address = await serve(open("auth"));
    const orchestrator = clientsWith(address, "agent-orchestrator", open("agent-orchestrator").channelCredentials("auth"));
    const gateway = clientsWith(address, "gateway", open("gateway").channelCredentials("auth"));
    await expect(orchestrator.journal.commitRun(run, { timeoutMs })).resolves.toBeDefined();
    expect(await reason(gateway.journal.commitRun(run, { timeoutMs }))).toBe(ErrorReason.PERMISSION_DENIED);
  });

  test.each<[string, CertificateRequest]>([
    ["is another service's", { service: "tool-executor" }],
    ["is nobody's", {}],
    ["is of another trust domain", { uris: ["spiffe://elsewhere/auth"], dnsNames: ["auth"] }],
    ["has two identities", { service: "tool-executor", uris: ["spiffe://turnwright/auth"] }],
    ["hides an identity in another name", { dnsNames: ["x, URI:spiffe://turnwright/auth"], uris: ['y", DNS:auth'] }],
  ])("does not call a server whose certificate %s", async (_what, request) => {
    const issued = authority.issue(request);
    const tls = openServerTls(issued);
    const address = await serve(tls);
    const gateway = clientsWith(address, "gateway", open("gateway").channelCredentials("auth"));
    expect(await reason(gateway.tokens.exchangeToken({ token: "t" }, { timeoutMs }))).toBe(ErrorReason.UNAVAILABLE);
  });

  test("does not call a server of another authority", async () => {
    const paths = writeCertificates(directory(), authority, stranger.issue({ service: "auth" }));
    const tls = openMeshTls({ paths, service: "auth", logger: mesh.logger });
    cleanups.push(() => tls.close());
    const gateway = clientsWith(await serve(tls), "gateway", open("gateway").channelCredentials("auth"));
    expect(await reason(gateway.tokens.exchangeToken({ token: "t" }, { timeoutMs }))).toBe(ErrorReason.UNAVAILABLE);
  });

  test("uses new certificates for new connections when the files change", async () => {
    const [serverDir, clientDir] = [directory(), directory()];
    const server = openMeshTls({
      paths: writeCertificates(serverDir, authority, authority.issue({ service: "auth" })),
      service: "auth",
      logger: mesh.logger,
    });
    const client = openMeshTls({
      paths: writeCertificates(clientDir, authority, authority.issue({ service: "gateway" })),
      service: "gateway",
      logger: mesh.logger,
    });
    cleanups.push(
      () => server.close(),
      () => client.close(),
    );
    const address = await serve(server);
    const channel = client.channelCredentials("auth");
    const before = clientsWith(address, "gateway", channel);
    await before.tokens.exchangeToken({ token: "t" }, { timeoutMs });

    const renewed = createTestAuthority();
    writeCertificates(serverDir, renewed, renewed.issue({ service: "auth" }));
    expect(await server.refresh()).toBe(true);
    await before.tokens.exchangeToken({ token: "t" }, { timeoutMs });
    expect(await reason(clientsWith(address, "gateway", channel).tokens.getJwks({}, { timeoutMs }))).toBe(
      ErrorReason.UNAVAILABLE,
    );

    writeCertificates(clientDir, renewed, renewed.issue({ service: "gateway" }));
    expect(await client.refresh()).toBe(true);
    await clientsWith(address, "gateway", channel).tokens.exchangeToken({ token: "t" }, { timeoutMs });
    expect(await client.refresh()).toBe(false);
  });

  test("keeps the old certificates while new files do not fit together", async () => {
    const path = directory();
    const paths = writeCertificates(path, authority, authority.issue({ service: "auth" }));
    const tls = openMeshTls({ paths, service: "auth", logger: mesh.logger });
    cleanups.push(() => tls.close());
    const address = await serve(tls);
    const next = authority.issue({ service: "auth" });
    writeFileSync(paths.MESH_TLS_CERT, next.cert);
    expect(await tls.refresh()).toBe(false);
    const gateway = open("gateway").channelCredentials("auth");
    await clientsWith(address, "gateway", gateway).tokens.exchangeToken({ token: "t" }, { timeoutMs });
    rmSync(paths.MESH_TLS_KEY);
    expect(await tls.refresh()).toBe(false);
    writeFileSync(paths.MESH_TLS_KEY, next.key);
    expect(await tls.refresh()).toBe(true);
    await clientsWith(address, "gateway", gateway).tokens.exchangeToken({ token: "t" }, { timeoutMs });
  });
});

/** A server with a certificate that no part would accept at its start. */
function openServerTls({ cert, key }: IssuedCertificate): MeshTls {
  const real = open("auth");
  return {
    ...real,
    serverCredentials: () =>
      ServerCredentials.createSsl(
        Buffer.from(authority.cert),
        [{ private_key: Buffer.from(key), cert_chain: Buffer.from(cert) }],
        true,
      ),
  };
}

describe("the configuration of TLS", () => {
  const faultsOf = meshTlsFaults("auth");
  const hour = 3_600_000;

  test("has no fault without it and with all three", () => {
    expect(faultsOf({})).toEqual([]);
    expect(faultsOf(writeCertificates(directory(), authority, authority.issue({ service: "auth" })))).toEqual([]);
  });

  test("names what is missing", () => {
    expect(faultsOf({ MESH_TLS_CA: "/ca.crt" })).toEqual([
      "MESH_TLS_CERT: is required with MESH_TLS_CA",
      "MESH_TLS_KEY: is required with MESH_TLS_CA",
    ]);
  });

  test("names every file that cannot be read", () => {
    expect(faultsOf({ MESH_TLS_CA: "/nowhere/ca", MESH_TLS_CERT: "/nowhere/cert", MESH_TLS_KEY: "/nowhere/key" })).toEqual([
      "MESH_TLS_CA: /nowhere/ca cannot be read (ENOENT)",
      "MESH_TLS_CERT: /nowhere/cert cannot be read (ENOENT)",
      "MESH_TLS_KEY: /nowhere/key cannot be read (ENOENT)",
    ]);
  });

  test("names every file with the wrong content", () => {
    const paths = writeCertificates(
      directory(),
      { cert: "no PEM" },
      { cert: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", key: "x" },
    );
    expect(faultsOf(paths)).toEqual([
      `MESH_TLS_CA: ${paths.MESH_TLS_CA} is not a PEM certificate`,
      expect.stringMatching(/^MESH_TLS_CERT: .* is not a PEM certificate/),
      expect.stringMatching(/^MESH_TLS_KEY: .* is not a PEM private key without a passphrase/),
    ]);
  });

  test("names a key that does not fit, a certificate that has ended and one of another service", () => {
    const ended = { notBefore: new Date(Date.now() - 2 * hour), notAfter: new Date(Date.now() - hour) };
    const { cert } = authority.issue({ service: "gateway", ...ended });
    const { key } = authority.issue({ service: "gateway" });
    const paths = writeCertificates(directory(), authority, { cert, key });
    expect(faultsOf(paths)).toEqual([
      `MESH_TLS_KEY: ${paths.MESH_TLS_KEY} is not the key of the certificate in MESH_TLS_CERT`,
      expect.stringMatching(/^MESH_TLS_CERT: .* expired on /),
      `MESH_TLS_CERT: ${paths.MESH_TLS_CERT} is for gateway, not for auth`,
    ]);
    expect(() => openMeshTls({ paths, service: "auth", logger: mesh.logger })).toThrow(ConfigError);
  });
});
