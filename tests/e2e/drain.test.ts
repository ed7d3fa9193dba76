import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Pool } from "undici";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { startPacedModel, words } from "../durability/paced-model.ts";
import { eventData, restApi } from "./api.ts";
import { shutdownLines } from "./shutdown-lines.ts";
import { type System, startSystem } from "./system.ts";

describe("SIGTERM to the all-in-one process with embedded PostgreSQL under load", () => {
  let dataDir: string;
  let model: Awaited<ReturnType<typeof startPacedModel>>;
  let system: System;
  let token: string;

  beforeEach(async () => {
    dataDir = mkdtempSync(join(tmpdir(), "turnwright-drain-"));
    model = await startPacedModel();
    const env = { TURNWRIGHT_DATA_DIR: dataDir, LLM_BASE_URL: model.url, SERVER_SHUTDOWN_TIMEOUT: "3s" };
    system = await startSystem({ shape: "all-in-one", env });
    const api = restApi(system.baseUrl);
    await api.register("drain@example.com", "correct-horse-battery");
    token = (await api.login("drain@example.com", "correct-horse-battery")).accessToken;
  }, 60_000);
  afterEach(async () => {
    await system.stop();
    await model.close();
    rmSync(dataDir, { recursive: true, force: true });
  });

  const headers = () => ({ authorization: `Bearer ${token}`, "content-type": "application/json" });
  /** A streamed run in which the model writes this many words; `begun` resolves at its first event. */
  function turn(count: number) {
    const begun = Promise.withResolvers<void>();
    const events = async () => {
      const body = JSON.stringify({ message: `say ${count}`, stream: true });
      const response = await fetch(`${system.baseUrl}/v1/conversations`, { method: "POST", headers: headers(), body });
      let text = "";
      for await (const chunk of response.body ?? []) {
        text += new TextDecoder().decode(chunk as Uint8Array);
        begun.resolve();
      }
      return eventData(text);
    };
    return { events: events(), begun: begun.promise };
  }

  test("fails no call, lets streams end within the time limit, sends an error to the rest, and stops PostgreSQL last, with code 0", async () => {
    const pool = new Pool(system.baseUrl, { connections: 6 });
    const bodies = ["use a tool", "hello"].map((message) => JSON.stringify({ message }));
    const statuses: number[] = [];
    const failures: unknown[] = [];
    const call = async (from: number) => {
      for (let at = from; ; at += 1) {
        try {
          const options = {
            method: "POST",
            path: "/v1/conversations",
            headers: headers(),
            body: bodies[at % 2] ?? null,
          } as const;
          const { statusCode, body } = await pool.request(options);
          await body.dump();
          statuses.push(statusCode);
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== "ECONNREFUSED") failures.push(error);
          return;
        }
      }
    };
    const [short, long] = [turn(20), turn(200)];
    await Promise.all([short.begun, long.begun]);
    const calls = Array.from({ length: 6 }, (_, index) => call(index));
    while (statuses.length < 30) await new Promise((resolve) => setImmediate(resolve));
    const startedAt = performance.now();
    expect(await system.stop()).toBe(0);
    expect(performance.now() - startedAt).toBeLessThan(10_000);
    await Promise.all(calls);
    await pool.destroy();
    expect(failures).toEqual([]);
    expect(new Set(statuses)).toEqual(new Set([201]));
    const said = (await short.events).map((event) => (event === "[DONE]" ? { type: event } : JSON.parse(event)));
    expect(said.at(-1)).toEqual({ type: "[DONE]" });
    expect(said.flatMap(({ type, delta }) => (type === "content" ? [delta] : [])).join("")).toBe(words(20).join(" "));
    const told = JSON.parse((await long.events).at(-1) ?? "{}") as { error?: { code: string } };
    expect(["RUN_HANDED_OVER", "UNAVAILABLE"]).toContain(told.error?.code);
    expect(existsSync(join(dataDir, "postgres", "data", "postmaster.pid"))).toBe(false);
    expect(system.log()).not.toContain("ended unexpectedly");
    const { lines, alarming } = shutdownLines(system.log());
    expect(lines[0]).toMatchObject({ msg: "draining", limit_ms: 3_000, requests: expect.any(Number), webhooks: 0 });
    expect(Number(lines[0]?.requests)).toBeGreaterThanOrEqual(2);
    expect(Number(lines[0]?.runs)).toBeGreaterThanOrEqual(2);
    expect(lines.filter(({ msg }) => msg === "draining" || msg === "closed")).toHaveLength(2);
    expect(lines.at(-1)).toMatchObject({ level: "info", msg: "closed" });
    expect(alarming).toEqual([]);
  }, 60_000);
});
