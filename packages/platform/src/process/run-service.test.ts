import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { compiledModules } from "@turnwright/testing/compiled-modules";
import { createTestAuthority, writeCertificates } from "@turnwright/testing/test-certificates";
import { afterEach, describe, expect, test } from "vitest";
import { meshSecret, testClients } from "../../testing/plane.ts";
import { ErrorReason, reasonOf } from "../errors.ts";
import { createLogger } from "../logger.ts";
import { joinMesh, remoteKeySource } from "./run-service.ts";

const logger = createLogger({ service: "test", level: "silent" });
const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function launch(env: Record<string, string>) {
  const child: ChildProcess = spawn(process.execPath, [join(import.meta.dirname, "../../testing/run-service.ts")], {
    env: { ...compiledModules, GRPC_HOST: "127.0.0.1", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const exit = once(child, "exit") as Promise<[number | null]>;
  cleanups.push(() => child.kill("SIGKILL"));
  const errors: string[] = [];
  child.stderr?.on("data", (chunk) => errors.push(String(chunk)));
  const lines: Record<string, unknown>[] = [];
  const said = createInterface({ input: child.stdout as NodeJS.ReadableStream });
  const listening = new Promise<string>((resolve) => {
    said.on("line", (line) => {
      const entry = JSON.parse(line) as Record<string, unknown>;
      lines.push(entry);
      if (entry.msg === "gRPC server is listening") resolve(`127.0.0.1:${entry.port}`);
    });
  });
  return { child, exit, listening, lines, stderr: () => errors.join("") };
}

function joinAs(service: string, tls: Record<string, string> = {}) {
  const config = { MESH_SECRET: meshSecret, AUTH_ADDR: [], LOG_LEVEL: "silent" as const, ...tls };
  const mesh = joinMesh({ service, config: config as never, logger });
  cleanups.push(() => mesh.close());
  return mesh;
}

describe("a service in its own process", () => {
  test("serves, reports its readiness, and shuts down in order at SIGTERM", async () => {
    const { child, exit, listening, lines } = launch({ MESH_SECRET: meshSecret });
    const transport = joinAs("gateway").transport("auth", [await listening]);
    await transport.checkHealth();
    expect((await testClients(transport).tokens.exchangeToken({ token: "t" })).internalToken).toBe("fixture");
    expect(await remoteKeySource(transport)()).toEqual({ keys: [] });

    child.kill("SIGUSR2");
    // It checks itself each second; a health check is only a round trip.
    const until = Date.now() + 10_000;
    let refusal: unknown;
    while (refusal === undefined && Date.now() < until) {
      refusal = await transport.checkHealth().then(
        () => undefined,
        (error: unknown) => error,
      );
    }
    expect(reasonOf(refusal)).toBe(ErrorReason.UNAVAILABLE);

    // It has survived an unhandled rejection.
    child.kill("SIGTERM");
    expect((await exit)[0]).toBe(0);
    const said = lines.map(({ msg }) => msg);
    expect(said).toContain("unhandled promise rejection");
    expect(said.slice(-3)).toEqual(["draining", "service closed", "closed"]);
    expect(lines.at(-3)).toMatchObject({ level: "info", limit_ms: 30_000, calls: 0, runs: 3 });
  });

  test("ends at once at a second signal, and says so", async () => {
    const { child, exit, listening, lines, stderr } = launch({ MESH_SECRET: meshSecret, NEVER_CLOSES: "yes" });
    await listening;
    child.kill("SIGTERM");
    await expect.poll(() => lines.map(({ msg }) => msg), { timeout: 10_000 }).toContain("service closed");
    child.kill("SIGTERM");
    expect((await exit)[0]).toBe(143);
    expect(stderr()).toBe("A second signal (SIGTERM) ends this process at once; its work under way is cut.\n");
  });

  test("refuses a service that the method does not name", async () => {
    const { listening } = launch({ MESH_SECRET: meshSecret });
    const transport = joinAs("conversation").transport("auth", [await listening]);
    const error = await testClients(transport)
      .tokens.exchangeToken({ token: "t" }, { timeoutMs: 5_000 })
      .catch((caught: unknown) => caught);
    expect(reasonOf(error)).toBe(ErrorReason.PERMISSION_DENIED);
  });

  test("exits with the list of all faults of its configuration, including TLS", async () => {
    const { exit, stderr } = launch({ MESH_SECRET: "short", GRPC_PORT: "x", MESH_TLS_CA: "/nowhere/ca.crt" });
    expect((await exit)[0]).toBe(1);
    const faults = stderr()
      .split("\n")
      .filter((line) => line.startsWith("  - "));
    expect(faults.map((line) => line.split(":")[0])).toEqual([
      "  - MESH_SECRET",
      "  - GRPC_PORT",
      "  - MESH_TLS_CERT",
      "  - MESH_TLS_KEY",
    ]);
  });

  test("requires certificates when it has its own", async () => {
    const directory = mkdtempSync(join(tmpdir(), "turnwright-run-"));
    cleanups.push(() => rmSync(directory, { recursive: true }));
    const authority = createTestAuthority();
    const certificates = (service: string) =>
      writeCertificates(join(directory, service), authority, authority.issue({ service }));
    const { listening } = launch({ MESH_SECRET: meshSecret, ...certificates("auth") });
    const address = await listening;
    const secured = joinAs("gateway", certificates("gateway")).transport("auth", [address]);
    expect((await testClients(secured).tokens.exchangeToken({ token: "t" }, { timeoutMs: 5_000 })).internalToken).toBe("fixture");
    await secured.checkHealth();
    const plain = joinAs("gateway").transport("auth", [address]);
    expect(reasonOf(await plain.checkHealth().catch((error: unknown) => error))).toBe(ErrorReason.UNAVAILABLE);
  });
});
