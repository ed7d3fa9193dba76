import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTestDatabase, type TestDatabase } from "@turnwright/testing/database";
import { testRedis } from "@turnwright/testing/redis";
import { Redis } from "ioredis";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { shutdownLines } from "./shutdown-lines.ts";
import { descendants, type System, startSystem } from "./system.ts";

const redis = await testRedis("the stores of a mesh of processes that starts its own Redis");

/** A child process of the starter, as other users of the machine see it. */
interface SeenProcess {
  readonly command: string;
  readonly environment: string;
}

describe.skipIf(redis === undefined)("a mesh whose starter starts Redis", () => {
  let database: TestDatabase;
  let system: System;
  let processes: SeenProcess[];
  const dataDir = mkdtempSync(join(tmpdir(), "turnwright-e2e-"));

  beforeAll(async () => {
    database = await createTestDatabase({ services: [] });
    system = await startSystem({
      shape: "mesh",
      env: { DATABASE_URL: database.url, DB_ROLE_PREFIX: "mesh_stores", TURNWRIGHT_DATA_DIR: dataDir },
    });
    const read = (pid: number, file: string) => readFileSync(`/proc/${pid}/${file}`, "utf8").replaceAll("\0", " ");
    processes = descendants(system.pid).map((pid) => ({ command: read(pid, "cmdline"), environment: read(pid, "environ") }));
  }, 120_000);
  afterAll(async () => {
    await system?.stop();
    await database?.drop();
    rmSync(dataDir, { recursive: true, force: true });
  });

  const only = (pattern: RegExp) => processes.filter(({ command }) => pattern.test(command));

  test("has a Redis that answers no one without the password, which appears in no command line", async () => {
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

  test("gives the address of Redis to the services that need it only", () => {
    const told = (pattern: RegExp) => only(pattern).map(({ environment }) => environment.includes("REDIS_"));
    expect(told(/services\/tool-executor/)).toEqual([false, false]);
    expect(told(/services\/conversation/)).toEqual([false]);
    expect(told(/services\/auth/)).toEqual([true]);
  });

  test("gives each service its own database login, and none the administrator's", async () => {
    const admin = new URL(database.url);
    const everything = processes.map(({ environment }) => environment).join("\n");
    expect(everything).not.toContain(admin.password);
    const userOf = (pattern: RegExp) => /DATABASE_URL=postgres:\/\/([^:]+):/.exec(only(pattern)[0]?.environment ?? "")?.[1];
    expect(userOf(/services\/tool-executor/)).toBe("mesh_stores_tool_login");
    expect(userOf(/services\/conversation/)).toBe("mesh_stores_conversation_login");
    expect(userOf(/services\/auth/)).toBe("mesh_stores_auth_login");
    expect(userOf(/gateway/)).toBeUndefined();
    expect(userOf(/services\/agent-orchestrator/)).toBeUndefined();
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    const { rows } = await client.query<{ usename: string }>(
      "select distinct usename from pg_stat_activity where datname = current_database() and application_name like 'turnwright-%'",
    );
    await client.end();
    expect(rows.map(({ usename }) => usename).sort()).toEqual([
      "mesh_stores_auth_login",
      "mesh_stores_conversation_login",
      "mesh_stores_tool_login",
    ]);
  });

  test("starts a part and a Redis again that ended, and says so in its log", async () => {
    const running = () =>
      descendants(system.pid).flatMap((pid) => {
        try {
          return [{ pid, command: readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ") }];
        } catch {
          // It has ended since.
          return [];
        }
      });
    const find = (pattern: RegExp) => running().filter(({ command }) => pattern.test(command) && !command.startsWith("/bin/sh"));
    for (const pattern of [/services\/conversation/, /redis-server/]) {
      const [before] = find(pattern);
      process.kill(before?.pid ?? 0, "SIGKILL");
      await vi.waitUntil(() => find(pattern).some(({ pid }) => pid !== before?.pid), { timeout: 15_000, interval: 100 });
    }
    const isReady = async () => (await fetch(`${system.baseUrl}/ready`).catch(() => undefined))?.ok;
    await vi.waitUntil(async () => (system.log().match(/the process runs again/g)?.length ?? 0) === 2 && (await isReady()), {
      timeout: 30_000,
      interval: 100,
    });
    expect(system.log().match(/"process":"(?:conversation|redis-server)","code":null,"signal":"SIGKILL"/g)).toHaveLength(2);
    expect(await system.stop()).toBe(0);
    expect(running()).toEqual([]);
    const { lines, alarming } = shutdownLines(system.log());
    const parts = ["gateway", "agent-orchestrator", "tool-executor", "tool-executor", "conversation", "auth"];
    const told = (what: string) => lines.filter(({ msg }) => msg === what).map(({ service }) => service);
    // By their times: processes write to the log in any order.
    const times = (what: string, isStarter: boolean) =>
      lines.flatMap(({ msg, service, time }) =>
        msg === what && (service === "mesh") === isStarter ? Date.parse(String(time)) : [],
      );
    expect(Math.min(...times("draining", false))).toBeGreaterThanOrEqual(Math.min(...times("draining", true)));
    expect(Math.max(...times("closed", false))).toBeLessThanOrEqual(Math.max(...times("closed", true)));
    for (const what of ["draining", "closed"]) expect(told(what).sort()).toEqual([...parts, "mesh"].sort());
    expect(alarming).toEqual([]);
  }, 60_000);
});
