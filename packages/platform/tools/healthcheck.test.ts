import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compiledModules } from "@turnwright/testing/compiled-modules";
import { createTestAuthority, writeCertificates } from "@turnwright/testing/test-certificates";
import { afterEach, describe, expect, test } from "vitest";
import { createLogger } from "../src/logger.ts";
import { openMeshTls } from "../src/mesh-tls/mesh-tls.ts";
import { startGrpcServer } from "../src/rpc/grpc-server.ts";

const logger = createLogger({ service: "test", level: "silent" });
const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function exitCode(env: Record<string, string>): Promise<number> {
  const child = spawn(process.execPath, [join(import.meta.dirname, "healthcheck.ts")], {
    env: { ...compiledModules, ...env },
    stdio: "ignore",
  });
  const [code] = (await once(child, "exit")) as [number];
  return code;
}

async function serve(credentials?: Parameters<typeof startGrpcServer>[0]["credentials"]) {
  const server = await startGrpcServer({ mounts: [], interceptors: [], host: "127.0.0.1", port: 0, logger, credentials });
  cleanups.push(() => server.close(0));
  return { server, HEALTHCHECK_ADDR: `127.0.0.1:${server.port}` };
}

describe("the health check of a container", () => {
  test("passes while the service serves, fails when it does not and when nobody listens", async () => {
    const { server, HEALTHCHECK_ADDR } = await serve();
    expect(await exitCode({ HEALTHCHECK_ADDR })).toBe(0);
    server.setServing(false);
    expect(await exitCode({ HEALTHCHECK_ADDR })).toBe(1);
    await server.close(0);
    expect(await exitCode({ HEALTHCHECK_ADDR })).toBe(1);
  });

  test("asks the port of GRPC_PORT or SERVER_PORT unless an address is given", async () => {
    const { server } = await serve();
    expect(await exitCode({ GRPC_PORT: String(server.port), GRPC_HOST: "0.0.0.0" })).toBe(0);
    const http = createServer((request, response) => response.writeHead(request.url === "/ready" ? 200 : 404).end());
    await once(http.listen(0, "127.0.0.1"), "listening");
    cleanups.push(() => http.close());
    const SERVER_PORT = String((http.address() as AddressInfo).port);
    expect(await exitCode({ SERVER_PORT })).toBe(0);
    expect(await exitCode({ SERVER_PORT, SERVER_HOST: "127.0.0.1", GRPC_PORT: "", HEALTHCHECK_ADDR: "" })).toBe(0);
    expect(await exitCode({ SERVER_PORT, HEALTHCHECK_URL: `http://127.0.0.1:${SERVER_PORT}/elsewhere` })).toBe(1);
  });

  test("presents the part's own certificate where the mesh requires one", async () => {
    const directory = mkdtempSync(join(tmpdir(), "turnwright-health-"));
    cleanups.push(() => rmSync(directory, { recursive: true }));
    const authority = createTestAuthority();
    const certificates = (service: string) =>
      writeCertificates(join(directory, service), authority, authority.issue({ service }));
    const tls = openMeshTls({ paths: certificates("auth"), service: "auth", logger });
    cleanups.push(() => tls.close());
    const { HEALTHCHECK_ADDR } = await serve(tls.serverCredentials());
    expect(await exitCode({ HEALTHCHECK_ADDR, ...certificates("auth") })).toBe(0);
    expect(await exitCode({ HEALTHCHECK_ADDR })).toBe(1);
    expect(await exitCode({ HEALTHCHECK_ADDR, ...certificates("tool-executor") })).toBe(1);
  });
});
