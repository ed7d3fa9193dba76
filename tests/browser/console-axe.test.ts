import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findChromium } from "./chromium.ts";
import { type ConsoleBrowser, type ConsoleStage, startConsoleStage, type WatchedPage } from "./console-stage.ts";

const executable = findChromium("the accessibility of every page of the console");
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

interface AxeResults {
  readonly violations: readonly {
    readonly id: string;
    readonly nodes: readonly { readonly html: string; readonly failureSummary: string }[];
  }[];
}

const sizes = [
  { width: 1280, height: 900 },
  { width: 390, height: 844 },
];

describe.skipIf(executable === undefined)("every page of the console", () => {
  let stage: ConsoleStage;
  let browser: ConsoleBrowser;
  let watched: WatchedPage;
  let pages: readonly string[];

  beforeAll(async () => {
    const admin = { ADMIN_EMAIL: "admin@shop.test", ADMIN_PASSWORD: "correct-horse-battery" };
    stage = await startConsoleStage(executable as string, admin);
    const account = { email: admin.ADMIN_EMAIL, password: admin.ADMIN_PASSWORD };
    const { access_token: token } = await stage.call<{ access_token: string }>("POST", "/v1/auth/login", "", account);
    const call = <T>(method: string, path: string, body?: unknown) => stage.call<T>(method, path, token, body);
    const asked = await call<{ conversation_id: string }>("POST", "/v1/conversations", { message: "What is 1337 * 42?" });
    await call("POST", "/v1/conversations", { message: "Send an HTTP request to http://127.0.0.1:1/ saying hello" });
    const { api_key: key } = await call<{ api_key: { id: string } }>("POST", "/v1/api-keys", { name: "ci", spend_limit_usd: 5 });
    await call("POST", "/v1/api-keys", { name: "other" });
    const { webhook } = await call<{ webhook: { id: string } }>("POST", "/v1/webhooks", { url: "https://example.com/" });
    await call("PATCH", `/v1/webhooks/${webhook.id}`, { enabled: false });
    const { invite } = await call<{ invite: { id: string } }>("POST", "/v1/admin/invites", {});
    const { users } = await call<{ users: { id: string }[] }>("GET", "/v1/admin/users");
    const { runs } = await call<{ runs: { id: string }[] }>("GET", "/v1/runs");
    expect(invite.id).not.toBe("");
    pages = [
      "chat",
      `chat/${asked.conversation_id}`,
      "inbox",
      "inbox?show=decided",
      "runs",
      ...runs.map(({ id }) => `runs/${id}`),
      `runs/${runs[0]?.id}?tab=events`,
      `runs/${runs[0]?.id}?tab=messages`,
      "agents",
      "agents/general",
      "tools",
      "tools/calculator",
      "keys",
      "keys/new",
      `keys/${key.id}`,
      "usage",
      "webhooks",
      "webhooks/new",
      `webhooks/${webhook.id}`,
      "account",
      "admin/users",
      `admin/users/${users[0]?.id}`,
      "admin/invites",
      "admin/signing-keys",
      "admin/audit",
      "admin/system",
      "nowhere",
    ];
    browser = await stage.openBrowser();
    watched = await browser.logIn({ ...account, token }, "account");
  }, 90_000);
  afterAll(() => stage?.stop());

  test.each(["light", "dark"] as const)(
    "has no violation of axe and no sideways scroll, %s, wide and narrow",
    async (colorScheme) => {
      const { page } = watched;
      await page.emulateMedia({ colorScheme });
      const found: string[] = [];
      for (const size of sizes) {
        await page.setViewportSize(size);
        for (const path of pages) {
          await page.goto(`${stage.baseUrl}/console/${path}`);
          await page.locator("main h1").filter({ hasNotText: "Loading" }).waitFor();
          await page.waitForLoadState("networkidle", { timeout: 1_000 }).catch(() => {});
          await page.evaluate(axe);
          const { violations } = (await page.evaluate("axe.run(document)")) as AxeResults;
          for (const { id, nodes } of violations) {
            found.push(
              `${path} ${size.width} ${colorScheme}: ${id}: ${nodes[0]?.html.slice(0, 200)} ${nodes[0]?.failureSummary}`,
            );
          }
          const isWide = await page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
          if (isWide) found.push(`${path} ${size.width}: scrolls sideways`);
        }
      }
      expect(found).toEqual([]);
      expect(await watched.problems(/status of 404/)).toEqual([]);
    },
    180_000,
  );
});
