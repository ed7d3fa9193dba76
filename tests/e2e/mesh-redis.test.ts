import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTestDatabase, type TestDatabase } from "@turnwright/testing/database";
import { testRedis } from "@turnwright/testing/redis";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { descendants, type System, startSystem } from "./system.ts";

const redis = await testRedis("the Redis that a mesh of processes starts for itself");

/** A process below the starter, as others on the machine see it. */
interface SeenProcess {
  readonly command: string;
  readonly environment: string;
}

describe.skipIf(redis === undefined)("the Redis that the starter of a mesh brings up", () => {
  let database: TestDatabase;
  let system: System;
  let processes: SeenProcess[];
  const dataDir = mkdtempSync(join(tmpdir(), "turnwright-e2e-"));

  beforeAll(async () => {
    database = await createTestDatabase({ services: [] });
    system = await startSystem({ shape: "mesh", env: { DATABASE_URL: database.url, TURNWRIGHT_DATA_DIR: dataDir } });
    const read = (pid: number, file: string) => readFileSync(`/proc/${pid}/${file}`, "utf8").replaceAll("\0", " ");
    processes = descendants(system.pid).map((pid) => ({ command: read(pid, "cmdline"), environment: read(pid, "environ") }));
  }, 120_000);
  afterAll(async () => {
    await system?.stop();
    await database?.drop();
    rmSync(dataDir, { recursive: true, force: true });
  });

  const only = (pattern: RegExp) => processes.filter(({ command }) => pattern.test(command));

  it("answers nobody who has no password, and shows the password in no argument", async () => {
    const [server] = only(/redis-server/);
    const port = Number(/127\.0\.0\.1:(\d+)/.exec(server?.command ?? "")?.[1]);
    const password = /REDIS_URL=redis:\/\/:([^@]+)@/.exec(only(/gateway/)[0]?.environment ?? "")?.[1] ?? "";
    expect(password).toMatch(/^[0-9a-f]{64}$/);
    expect(processes.map(({ command }) => command).join("\n")).not.toContain(password);

    const stranger = new Redis({ host: "127.0.0.1", port, lazyConnect: true, enableReadyCheck: false });
    stranger.on("error", () => {});
    await expect(stranger.call("GET", "turnwright")).rejects.toThrow("NOAUTH");
    stranger.disconnect();
    const part = new Redis({ host: "127.0.0.1", port, password });
    expect(await part.ping()).toBe("PONG");
    part.disconnect();
  });

  it("is told to the services that need it alone", () => {
    const told = (pattern: RegExp) => only(pattern).map(({ environment }) => environment.includes("REDIS_"));
    expect(told(/services\/tool-executor/)).toEqual([false, false]);
    expect(told(/services\/conversation/)).toEqual([false]);
    expect(told(/services\/auth/)).toEqual([true]);
  });
});
