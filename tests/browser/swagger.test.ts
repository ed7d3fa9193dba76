import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startAllInOne } from "../e2e/all-in-one.ts";
import { restApi } from "../e2e/api.ts";
import type { System } from "../e2e/system.ts";
import { findChromium, openBrowser } from "./chromium.ts";

const executable = findChromium("the API docs in a real browser");

describe.skipIf(executable === undefined)("the API docs in a real browser", () => {
  let system: System;
  let browser: Awaited<ReturnType<typeof openBrowser>>;
  let page: Page;
  let token: string;
  const problems: string[] = [];

  beforeAll(async () => {
    system = await startAllInOne();
    const api = restApi(system.baseUrl);
    await api.register("docs@example.com", "correct-horse-battery");
    token = (await api.login("docs@example.com", "correct-horse-battery")).accessToken;
    browser = await openBrowser(executable as string);
    page = await browser.context.newPage();
    page.on("pageerror", (error) => problems.push(error.message));
    page.on("console", (message) => {
      if (message.type() === "error") problems.push(message.text());
    });
    await page.goto(`${system.baseUrl}/swagger/index.html`);
    await page.getByText("Turnwright API").first().waitFor();
  }, 90_000);

  afterAll(async () => {
    await browser?.close();
    await system?.stop();
  });

  const operation = (path: string, verb: string) =>
    page.locator(`.opblock-${verb}`, { has: page.locator(`[data-path="${path}"]`) });

  /** Executes an operation with its example and returns the status and body that the page shows. */
  async function execute(path: string, verb: string): Promise<{ status: string | null; body: string | null }> {
    const block = operation(path, verb);
    await block.locator(".opblock-summary-control").first().click();
    await block.locator("button.execute").click();
    const live = block.locator(".live-responses-table");
    await live.waitFor();
    return {
      status: await live.locator(".response-col_status").last().textContent(),
      body: await live.locator(".response-col_description").last().textContent(),
    };
  }

  test("lists every operation of the document", async () => {
    const document = (await (await fetch(`${system.baseUrl}/swagger/doc.json`)).json()) as { paths: Record<string, object> };
    const operations = Object.values(document.paths).flatMap((path) => Object.keys(path)).length;
    expect(await page.locator(".opblock").count()).toBe(operations);
  });

  test("refuses a call without a token and executes it once a token is pasted", async () => {
    const before = await execute("/v1/tools", "get");
    expect(before.status).toContain("401");

    await page.locator("button.authorize").first().click();
    await page.locator(".auth-container input").fill(token);
    await page.locator(".modal-ux button.authorize").click();
    await page.locator(".modal-ux button.btn-done").click();
    await operation("/v1/tools", "get").locator("button.execute").click();
    const status = operation("/v1/tools", "get").locator(".live-responses-table .response-col_status", { hasText: "200" });
    await status.last().waitFor();
    expect(await operation("/v1/tools", "get").locator(".live-responses-table").textContent()).toContain("calculator");
  }, 60_000);

  test("executes the unchanged example of a call with a body", async () => {
    const { status, body } = await execute("/v1/tools/execute", "post");
    expect(status).toContain("200");
    expect(body).toContain("56154");
  }, 60_000);

  test("loads without an error and sends no request to another host", () => {
    // The browser logs the 401 of the call without a token, tested above.
    expect(problems.filter((text) => !text.includes("401"))).toEqual([]);
  });
});
