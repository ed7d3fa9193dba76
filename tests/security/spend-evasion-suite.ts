import { describe, expect, test } from "vitest";
import { leaveCalls, leavers, spendingAccount, usageOf } from "./spend-attack.ts";
import type { StarterStage } from "./starter-stage.ts";

/** Each way at each of its three moments. */
const rounds = Object.keys(leavers).length * 3;

/** The tests of one shape: calls that nobody waits for cost as much as others. */
export function testSpendEvasion(shape: string, stage: () => StarterStage): void {
  const baseUrl = () => stage().gateways[0] as string;

  describe(`model calls abandoned by their clients, ${shape}`, () => {
    test.each(["key", "token"] as const)(
      "are charged for what was sent, on every surface, with and without a ceiling: %s",
      async (kind) => {
        stage().endless.arrivals.clear();
        const account = await spendingAccount(baseUrl(), `${kind}@example.com`, 100);
        const caller = { baseUrl: baseUrl(), bearer: account[kind] };
        const { calls, promptTokens } = await leaveCalls(caller, stage().endless, rounds);
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
      stage().endless.arrivals.clear();
      const { key } = await spendingAccount(baseUrl(), "poor@example.com", 0.05);
      const caller = { baseUrl: baseUrl(), bearer: key };
      const attack = Array.from({ length: 40 }, async (_, index) => {
        const leaving = new AbortController();
        void stage()
          .endless.asked(`poor-${index}`)
          .then(() => leaving.abort());
        const body = JSON.stringify({
          model: "priced",
          stream: true,
          tool_choice: "none",
          user: `poor-${index}`,
          messages: [{ role: "user", content: "word ".repeat(4_000) }],
        });
        const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
        const answer = await fetch(`${baseUrl()}/v1/chat/completions`, {
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
      const arrived = stage().endless.arrivals.size;
      expect(arrived).toBeGreaterThan(0);
      await expect.poll(async () => (await usageOf(caller)).requests, { timeout: 15_000, interval: 250 }).toBe(arrived);
      expect((await usageOf(caller)).cost_usd).toBeLessThanOrEqual(0.05);
    });
  });
}
