import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTestDatabase, type TestDatabase } from "@turnwright/testing/database";
import { testRedis } from "@turnwright/testing/redis";
import { type ScriptedModel, startScriptedModel } from "@turnwright/testing/scripted-model";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { createPart, type Part } from "../mesh/part.ts";
import { type MeshProcesses, startMeshProcesses } from "../mesh/processes.ts";
import { compileCache, testedEnvironment } from "../tested-environment.ts";
import { restApi } from "./api.ts";
import { freePort } from "./system.ts";

const redis = await testRedis("executors that are added to a mesh");
const name = "tool-executors.test";
const hosts = ["127.0.0.2", "127.0.0.3", "127.0.0.4"] as const;
const main = join(import.meta.dirname, "../../services/tool-executor/src/main.ts");
/** Names are resolved again after 0.2 s instead of 10 s. */
const soon = {
  file: "packages/platform/src/rpc/grpc-balancer.ts",
  changes: [{ from: "const resolveEveryMs = 10_000;", to: "const resolveEveryMs = 200;" }],
};

describe.skipIf(redis === undefined)("tool executors behind one name", () => {
  const dir = mkdtempSync(join(tmpdir(), "turnwright-scale-"));
  const names = join(dir, "names.json");
  let database: TestDatabase;
  let model: ScriptedModel;
  let mesh: MeshProcesses;
  let added: Part[] = [];

  /** Replaces the file at once: a process may be reading it. */
  const resolveTo = (addresses: readonly string[]) => {
    writeFileSync(`${names}.new`, JSON.stringify({ [name]: addresses }));
    renameSync(`${names}.new`, names);
  };

  beforeAll(async () => {
    database = await createTestDatabase({ services: [] });
    model = await startScriptedModel({
      answer: ({ body }) =>
        body.messages.at(-1)?.role === "user"
          ? { calls: [{ id: "call_1", name: "which_executor", arguments: "{}" }] }
          : { text: String(body.messages.at(-1)?.content) },
    });
    const port = await freePort();
    const { NODE_OPTIONS, ...tested } = testedEnvironment(soon);
    const stub = new URL("stub-names.mjs", import.meta.url).href;
    const caller = {
      ...tested,
      NODE_COMPILE_CACHE: compileCache,
      NODE_OPTIONS: `${NODE_OPTIONS} --import=${stub}`,
      STUB_NAMES: names,
      TOOL_ADDR: `${name}:${port}`,
    };
    const stores = { DATABASE_URL: database.url, REDIS_URL: redis ?? "" };
    const shared = {
      MESH_SECRET: "the-secret-of-the-mesh-that-grows",
      LLM_MODEL: "gpt-4o-mini",
      TOOLS_DIR: join(import.meta.dirname, "scale-up"),
      RATE_LIMIT_PER_MINUTE: "1000000",
    };
    resolveTo(hosts.slice(0, 1));
    const executor = (host: string) => ({ GRPC_HOST: host, GRPC_PORT: String(port) });
    mesh = await startMeshProcesses({
      dir,
      databaseUrl: database.url,
      redisUrl: redis ?? "",
      modelUrl: model.url,
      replicas: {},
      env: shared,
      envOf: { "tool-executor": executor(hosts[0]), "agent-orchestrator": caller, gateway: caller },
    });
    const AUTH_ADDR = `127.0.0.1:${mesh.of("auth")[0]?.port}`;
    added = hosts.slice(1).map((host) => {
      const env = { ...shared, ...stores, AUTH_ADDR, ...executor(host) };
      return createPart({ name: `executor-${host}`, main, port, env, log: join(dir, `executor-${host}.log`) });
    });
  }, 120_000);
  afterAll(async () => {
    await Promise.all(added.map((part) => part.kill()));
    await mesh?.stop();
    await model?.close();
    await database?.drop();
    rmSync(dir, { recursive: true, force: true });
  });

  test("each take their share soon after they are added, and no call fails when one is removed", async () => {
    const api = restApi(mesh.gateways[0] ?? "");
    await api.register("grow@example.com", "correct-horse-battery");
    const { accessToken } = await api.login("grow@example.com", "correct-horse-battery");
    const surfaces = {
      turn: async () => (await api.createConversation(accessToken, "Which one?")).message,
      direct: async () => String(await api.executeTool(accessToken, "which_executor", {})),
    };
    /** The executor of each call so far, by surface; a call that fails ends the test. */
    const ranBy: Record<keyof typeof surfaces, string[]> = { turn: [], direct: [] };
    let isOver = false;
    const load = [1, 2].map(async () => {
      while (!isOver) {
        ranBy.turn.push((await surfaces.turn()) ?? "none");
        ranBy.direct.push(await surfaces.direct());
      }
    });
    const failed = Promise.race([Promise.all(load), new Promise<never>(() => {})]);
    const settled = (check: () => void) => Promise.race([failed, vi.waitFor(check, { timeout: 60_000, interval: 50 })]);
    /** Waits until so many executors share the latest calls of each client, each with half its part at least. */
    const sharedBy = async (count: number) => {
      for (const calls of Object.values(ranBy)) {
        const latest = () => calls.slice(-4 * count);
        await settled(() => {
          const shares = Map.groupBy(latest(), (executor) => executor);
          expect(latest()).toHaveLength(4 * count);
          expect(shares.size).toBe(count);
          for (const { length } of shares.values()) expect(length).toBeGreaterThanOrEqual(2);
        });
      }
      return new Set(Object.values(ranBy).flatMap((calls) => calls.slice(-4 * count)));
    };
    try {
      expect((await sharedBy(1)).size).toBe(1);
      await Promise.all(added.map((part) => part.start()));
      resolveTo(hosts);
      const three = await sharedBy(3);
      expect(three.size).toBe(3);
      const [removed] = added;
      const ending = removed?.terminate();
      resolveTo([hosts[0], hosts[2]]);
      expect((await ending)?.code).toBe(0);
      const two = await sharedBy(2);
      expect(two.size).toBe(2);
      expect([...two].filter((executor) => !three.has(executor))).toEqual([]);
    } finally {
      isOver = true;
      await Promise.allSettled(load);
    }
    await Promise.all(load);
  }, 240_000);
});
