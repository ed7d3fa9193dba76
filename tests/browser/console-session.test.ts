import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findChromium } from "./chromium.ts";
import { type Account, type ConsoleBrowser, type ConsoleStage, startConsoleStage } from "./console-stage.ts";

const executable = findChromium("the session of the console in a real browser");

describe.skipIf(executable === undefined)("the session of the console", () => {
  let stage: ConsoleStage;
  let browser: ConsoleBrowser;
  let anna: Account;

  beforeAll(async () => {
    stage = await startConsoleStage(executable as string);
    anna = await stage.register("anna@shop.test");
    browser = await stage.openBrowser();
  }, 90_000);
  afterAll(() => stage?.stop());

  /** The cookie of the console, as the browser keeps it. */
  const cookie = async () => (await browser.context.cookies(`${stage.baseUrl}/console/session`))[0];
  /** Ends all sessions of Anna but that of her token, as another computer would. */
  const endOthers = async () => {
    const { sessions } = await stage.call<{ sessions: { id: string; is_current: boolean }[] }>(
      "GET",
      "/v1/auth/sessions",
      anna.token,
    );
    for (const { id, is_current: isCurrent } of sessions) {
      if (!isCurrent) await stage.call("DELETE", `/v1/auth/sessions/${id}`, anna.token);
    }
  };

  test("leads from the root through the login to the page that was asked for", async () => {
    const { page, problems } = await browser.open("account");
    await page.waitForURL(/\/console\/login\?next=account$/);
    await page.getByLabel("Email").fill(anna.email);
    await page.getByLabel("Password").fill("wrong-password");
    await page.keyboard.press("Enter");
    await page.getByText("Email or password is wrong.").waitFor();
    await page.getByLabel("Password").fill(anna.password);
    await page.keyboard.press("Enter");
    await page.waitForURL(/\/console\/account$/);
    await page.getByText(`${anna.email}, role user.`).waitFor();
    expect(await page.title()).toBe("Account · Turnwright");
    // The browser lists the refused login.
    expect(await problems(/status of 401.*\/console\/session$/)).toEqual([]);
    await page.close();
  }, 30_000);

  test("survives a reload; its tokens are where no script and no other path finds them", async () => {
    const { page, problems } = await browser.open("account");
    await page.getByText(`${anna.email}, role user.`).waitFor();
    const kept = await cookie();
    expect(kept).toMatchObject({ httpOnly: true, sameSite: "Strict", path: "/console/session", name: `tw_${stage.system.port}` });
    const seen = await page.evaluate(() => document.cookie + JSON.stringify({ ...localStorage, ...sessionStorage }));
    expect(seen).not.toMatch(/rt-|eyJ/);
    await page.reload();
    await page.getByText(`${anna.email}, role user.`).waitFor();
    expect((await cookie())?.value).not.toBe(kept?.value);
    expect(await problems()).toEqual([]);
    await page.close();
  }, 30_000);

  test("lets a person go on, back and forward: the focus is on the heading, the place is where it was", async () => {
    const { page, problems } = await browser.open("account", { width: 1280, height: 400 });
    await page.getByText("this one").waitFor();
    await page.mouse.move(640, 200);
    await page.mouse.wheel(0, 200);
    await expect.poll(() => page.evaluate(() => (history.state as { scroll?: number }).scroll), { timeout: 5_000 }).toBe(200);
    await page.keyboard.press("g");
    await page.keyboard.press("k");
    await page.waitForURL(/\/console\/keys$/);
    const focused = () => page.evaluate(() => document.activeElement?.tagName);
    await expect.poll(focused, { timeout: 5_000 }).toBe("H1");
    expect(await page.getByRole("link", { name: "Keys", exact: true }).getAttribute("aria-current")).toBe("page");
    await page.goBack();
    await page.getByText("this one").waitFor();
    await expect.poll(() => page.evaluate(() => scrollY), { timeout: 5_000 }).toBe(200);
    await page.reload();
    await page.getByText("this one").waitFor();
    await expect.poll(() => page.evaluate(() => scrollY), { timeout: 5_000 }).toBe(200);
    await page.keyboard.press("?");
    await page.getByRole("dialog", { name: "Keys" }).waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    expect(await problems()).toEqual([]);
    await page.close();
  }, 30_000);

  test("cannot be renewed or ended by a page on another port of this host", async () => {
    const before = (await cookie())?.value;
    const target = `${stage.baseUrl}/console/session`;
    const server = createServer((_request, response) => {
      response.setHeader("content-type", "text/html");
      response.end(`<form method="post" enctype="text/plain" action="${target}"><input name="a" value="b"></form>`);
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const page = await browser.context.newPage();
    try {
      await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
      const answers = await page.evaluate(async (url) => {
        const headers = { "content-type": "application/json", "x-turnwright-console": "1" };
        const tries: RequestInit[] = [
          { method: "PUT", headers, body: "{}" },
          { method: "DELETE", headers, body: "{}" },
          { method: "POST", mode: "no-cors", headers: { "content-type": "text/plain" }, body: "{}" },
        ];
        return Promise.all(
          tries.map((one) =>
            fetch(url, { ...one, credentials: "include" }).then(
              ({ type }) => type,
              () => "refused",
            ),
          ),
        );
      }, target);
      expect(answers).toEqual(["refused", "refused", "refused"]);
      const [response] = await Promise.all([page.waitForResponse(target), page.evaluate(() => document.forms[0]?.submit())]);
      expect(response.status()).toBe(403);
    } finally {
      await page.close();
      server.close();
    }
    expect((await cookie())?.value).toBe(before);
    const { page: own } = await browser.open("account");
    await own.getByText(`${anna.email}, role user.`).waitFor();
    await own.close();
  }, 30_000);

  test("ended elsewhere, shows the login over all tabs within a second, and what was typed is still there", async () => {
    const tabs = [await browser.open("account"), await browser.open("account")];
    for (const { page } of tabs) await page.getByRole("heading", { name: "Sessions" }).waitFor();
    const [first, second] = tabs.map(({ page }) => page);
    if (first === undefined || second === undefined) throw new Error("There are two tabs.");
    await first.getByLabel("Current password").fill("a draft that nobody may lose");
    if (stage.isLive) await Promise.all(tabs.map(({ page }) => page.getByText("● Live").waitFor()));
    const dialogs = [first, second].map((page) => page.getByRole("dialog", { name: "Log in to go on" }));
    await endOthers();
    let endedAt = Date.now();
    if (!stage.isLive) {
      // Without a stream of events, the next request that is refused tells all tabs.
      while (!(await dialogs[0]?.isVisible()))
        await first.evaluate(() => document.querySelector<HTMLElement>("td button")?.click());
      endedAt = Date.now();
    }
    await Promise.all(dialogs.map((dialog) => dialog.waitFor()));
    expect(Date.now() - endedAt).toBeLessThan(1_000);
    expect(await second.evaluate(() => document.activeElement?.closest("dialog") !== null)).toBe(true);
    await second.getByRole("dialog").getByLabel("Password").fill(anna.password);
    await second.keyboard.press("Enter");
    // One login serves all tabs.
    await Promise.all([first, second].map((page) => page.getByRole("dialog").waitFor({ state: "detached" })));
    expect(await first.getByLabel("Current password").inputValue()).toBe("a draft that nobody may lose");
    for (const { page, problems } of tabs) {
      expect(await problems(/status of 401/)).toEqual([]);
      await page.close();
    }
  }, 30_000);

  test("ends in all tabs and at the server when the person logs out", async () => {
    const [first, second] = [await browser.open("account"), await browser.open("account")];
    for (const { page } of [first, second]) await page.getByRole("heading", { name: "Sessions" }).waitFor();
    const token = (await cookie())?.value;
    await second.page.getByRole("button", { name: "Account" }).click();
    await second.page.getByRole("menuitem", { name: "Log out" }).click();
    await Promise.all([first, second].map(({ page }) => page.waitForURL(/\/console\/login/)));
    expect(await cookie()).toBe(undefined);
    await expect(stage.call("POST", "/v1/auth/refresh", "", { refresh_token: token })).rejects.toThrow("401");
    for (const { page, problems } of [first, second]) {
      expect(await problems()).toEqual([]);
      await page.close();
    }
  }, 30_000);
});
