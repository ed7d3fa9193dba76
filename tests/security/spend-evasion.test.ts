import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTestDatabase, type TestDatabase } from "@turnwright/testing/database";
import { testRedis } from "@turnwright/testing/redis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type System, startSystem } from "../e2e/system.ts";
import { leaveCalls, leavers, spendEnvironment, spendingAccount, startEndlessModel, usageOf } from "./spend-attack.ts";

const redisUrl = await testRedis("spend ceilings in the mesh");
/** Each way at each of its three moments. */
const rounds = Object.keys(leavers).length * 3;

describe.each(redisUrl === undefined ? ["all-in-one" as const] : ["all-in-one" as const, "mesh" as const])(
  "model calls abandoned by their clients, %s",
  (shape) => {
    let dataDir: string;
    let database: TestDatabase;
    let endless: Awaited<ReturnType<typeof startEndlessModel>>;
    let system: System;

    beforeAll(async () => {
      dataDir = mkdtempSync(join(tmpdir(), "turnwright-spending-"));
      database = await createTestDatabase({ services: [] });
      endless = await startEndlessModel();
      system = await startSystem({
        shape,
        env: {
          TURNWRIGHT_DATA_DIR: dataDir,
          DATABASE_URL: database.url,
          REDIS_URL: shape === "mesh" ? (redisUrl as string) : "",
          LLM_BASE_URL: endless.model.url,
          ...spendEnvironment,
        },
      });
    });
    afterAll(async () => {
      await system.stop();
      await endless.model.close();
      await database.drop();
      rmSync(dataDir, { recursive: true, force: true });
    });

    test.each(["key", "token"] as const)(
      "are charged for what was sent, on every surface, with and without a ceiling: %s",
      async (kind) => {
        endless.arrivals.clear();
        const account = await spendingAccount(system.baseUrl, `${kind}@example.com`, 100);
        const caller = { baseUrl: system.baseUrl, bearer: account[kind] };
        const { calls, promptTokens } = await leaveCalls(caller, endless, rounds);
        expect(calls).toBe(rounds);
        await expect.poll(async () => (await usageOf(caller)).requests, { timeout: 15_000, interval: 250 }).toBe(rounds);
        const used = await usageOf(caller);
        expect(used.prompt_tokens).toBeGreaterThanOrEqual(promptTokens);
        expect(used.completion_tokens).toBeGreaterThan(0);
        expect(used.estimated_tokens).toBe(used.prompt_tokens + used.completion_tokens);
        expect(used.cost_usd).toBeCloseTo((used.prompt_tokens + used.completion_tokens * 10) / 1e6, 9);
      },
    );

    test("do not exceed a ceiling, however many there are", async () => {
      endless.arrivals.clear();
      const { key } = await spendingAccount(system.baseUrl, "poor@example.com", 0.05);
      const caller = { baseUrl: system.baseUrl, bearer: key };
      const attack = Array.from({ length: 40 }, async (_, index) => {
        const leaving = new AbortController();
        void endless.asked(`poor-${index}`).then(() => leaving.abort());
        const body = JSON.stringify({
          model: "priced",
          stream: true,
          tool_choice: "none",
          user: `poor-${index}`,
          messages: [{ role: "user", content: "word ".repeat(4_000) }],
        });
        const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
        const answer = await fetch(`${system.baseUrl}/v1/chat/completions`, {
          method: "POST",
          headers,
          body,
          signal: leaving.signal,
        }).catch(() => undefined);
        if (answer?.status === 429) return "refused";
        await answer?.text().catch(() => {});
        return "left";
      });
      const outcomes = await Promise.all(attack);
      expect(outcomes).toContain("refused");
      const arrived = endless.arrivals.size;
      expect(arrived).toBeGreaterThan(0);
      await expect.poll(async () => (await usageOf(caller)).requests, { timeout: 15_000, interval: 250 }).toBe(arrived);
      expect((await usageOf(caller)).cost_usd).toBeLessThanOrEqual(0.05);
    });
  },
);
