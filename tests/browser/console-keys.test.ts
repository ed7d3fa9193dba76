import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startPacedModel } from "../durability/paced-model.ts";
import { findChromium } from "./chromium.ts";
import { type Account, type ConsoleStage, startConsoleStage } from "./console-stage.ts";

const executable = findChromium("keys and usage of the console in a real browser");

/** Everything of a page in which a secret could be left. */
async function traces(page: Page): Promise<string> {
  const inside = await page.evaluate(async () => {
    const values = [...document.querySelectorAll("input, textarea")].map((field) => (field as HTMLInputElement).value);
    const databases = (await indexedDB.databases()).map(({ name }) => name ?? "");
    const stored = [localStorage, sessionStorage].map((storage) => JSON.stringify({ ...storage }));
    const state = JSON.stringify(history.state);
    return [document.documentElement.outerHTML, location.href, document.cookie, state, ...values, ...databases, ...stored];
  });
  return inside.join("\n");
}

/** Reads events of a run until its stream ends; resolves with the time of the end. */
async function endOf(answer: Response): Promise<{ text: string; at: number }> {
  const text = await answer.text().catch((error: Error) => error.message);
  return { text, at: performance.now() };
}

describe.skipIf(executable === undefined)("keys and usage", () => {
  let stage: ConsoleStage;
  let model: Awaited<ReturnType<typeof startPacedModel>>;
  let account: Account;

  beforeAll(async () => {
    model = await startPacedModel();
    stage = await startConsoleStage(executable as string, {
      LLM_BASE_URL: model.url,
      LLM_DEFAULT_MODEL: "paced",
      MODEL_PRICES: JSON.stringify({ paced: { input: 100, output: 200 } }),
    });
    account = await stage.register("keys@shop.test");
  }, 90_000);
  afterAll(async () => {
    await stage?.stop();
    await model?.close();
  });

  test("a key is seen once; revoked while its chat streams, its run ends within a second and its row says so", async () => {
    const browser = await stage.openBrowser();
    const { page, problems } = await browser.logIn(account, "keys/new");
    const addresses: string[] = [];
    page.on("request", (request) => addresses.push(request.url()));
    await page.getByLabel("Name", { exact: true }).fill("ci");
    await page.getByRole("button", { name: "Create", exact: true }).click();
    const secret = await page.locator("code.secret").innerText();
    expect(secret).toMatch(/^sk-/);
    await page.getByLabel("I have stored it").check();
    await page.getByRole("button", { name: "Done" }).click();
    await page.getByRole("row", { name: /ci.*Active/ }).waitFor();
    expect(await traces(page)).not.toContain(secret);

    const created = await stage.call<{ run: { id: string } }>("POST", "/v1/runs", secret, { message: "say 400" });
    const stream = await fetch(`${stage.baseUrl}/v1/runs/${created.run.id}/events`, {
      headers: { authorization: `Bearer ${secret}` },
    });
    expect(stream.status).toBe(200);
    const ended = endOf(stream);
    const runOf = () => stage.call<{ run: { status: string } }>("GET", `/v1/runs/${created.run.id}`, account.token);
    await expect.poll(async () => (await runOf()).run.status).toBe("running");
    await page.getByRole("link", { name: "ci", exact: true }).click();
    await page.getByRole("button", { name: "Revoke…" }).click();
    const pressedAt = performance.now();
    await page.getByRole("button", { name: "Revoke", exact: true }).click();
    await expect.poll(async () => (await runOf()).run.status, { interval: 50, timeout: 5_000 }).not.toBe("running");
    expect(performance.now() - pressedAt).toBeLessThan(1_000);
    const { text, at } = await ended;
    expect(at - pressedAt).toBeLessThan(1_500);
    expect(text).not.toContain("word399");
    await page.getByRole("link", { name: "All keys" }).click();
    await page.getByRole("row", { name: /ci.*Revoked/ }).waitFor();
    await page.goBack();
    expect(await traces(page)).not.toContain(secret);
    await page.reload();
    await page.getByText("Revoked", { exact: true }).waitFor();
    expect(await traces(page)).not.toContain(secret);
    expect(addresses.filter((url) => url.includes(secret))).toEqual([]);
    expect(await problems()).toEqual([]);
    await browser.close();
  }, 60_000);

  test("usage: nothing yet, then a sentence, three charts with their tables, a sortable table and a file", async () => {
    const other = await stage.register("usage@shop.test");
    const browser = await stage.openBrowser();
    const { page, problems } = await browser.logIn(other, "usage");
    await page.getByText("No model was called in these days.").waitFor();
    await stage.call("POST", "/v1/conversations", other.token, { message: "say 3" });
    type Usage = { total: { requests: number; prompt_tokens: number; completion_tokens: number; cost_usd: number } };
    const usageOf = () => stage.call<Usage>("GET", "/v1/usage", other.token);
    await expect.poll(async () => (await usageOf()).total.requests, { timeout: 15_000 }).toBeGreaterThan(0);
    const { total } = await usageOf();
    expect(total.cost_usd).toBeGreaterThan(0);
    const asked: string[] = [];
    page.on("request", (request) => asked.push(request.url()));
    await page.getByRole("button", { name: "7 d", exact: true }).click();
    const tokens = total.prompt_tokens + total.completion_tokens;
    await page.getByText(new RegExp(`US\\$0\\.\\d+ · ${tokens} tokens · ${total.requests} requests? · .*UTC days`)).waitFor();
    expect(asked.filter((url) => url.includes("/v1/usage"))).toHaveLength(1);
    await expect.poll(() => page.locator(".chart canvas").count()).toBe(3);
    const drawn = await page.locator(".chart canvas").evaluateAll((all) =>
      all.map((canvas) => {
        const { width, height } = canvas as HTMLCanvasElement;
        const pixels = (canvas as HTMLCanvasElement).getContext("2d")?.getImageData(0, 0, width, height).data ?? [];
        return pixels.some((value) => value > 0);
      }),
    );
    expect(drawn).toEqual([true, true, true]);
    await page.getByRole("button", { name: "Tokens per day: show as table" }).click();
    await expect.poll(() => page.getByRole("region", { name: "Tokens per day, as table" }).locator("tbody tr").count()).toBe(7);
    await page.getByRole("button", { name: "Requests", exact: true }).click();
    await page.locator("th[aria-sort=descending]", { hasText: "Requests" }).waitFor();
    await page.getByRole("link", { name: "paced", exact: true }).click();
    await page.waitForURL(/only=paced/);
    await page.getByRole("link", { name: "Show all" }).click();
    await page.getByRole("link", { name: "Show all" }).waitFor({ state: "detached" });
    await page.getByLabel("By", { exact: true }).selectOption("key");
    await page.getByRole("link", { name: "Logins", exact: true }).waitFor();
    expect(asked.filter((url) => url.includes("/v1/usage"))).toHaveLength(2);
    const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Download CSV" }).click()]);
    expect(file.suggestedFilename()).toBe("usage.csv");
    expect(await problems()).toEqual([]);
    await browser.close();
  }, 60_000);
});
