import { startModelServer } from "@turnwright/testing/model-server";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { pacedAnswer, words } from "../durability/paced-model.ts";
import { type EffectCounter, startEffectCounter } from "../e2e/effect-counter.ts";
import { findChromium } from "./chromium.ts";
import { type ConsoleStage, startConsoleStage } from "./console-stage.ts";

const executable = findChromium("chat and inbox of the console in a real browser");

/** Texts that run or load something where they become markup. */
const vectors = [
  "<img src=x onerror=alert(1)>",
  "<script>alert(1)</script>",
  "[link](javascript:alert(1))",
  "![image](https://127.0.0.1:1/pixel.png)",
  '<svg onload="alert(1)">',
  '"><iframe src="javascript:alert(1)">',
  "[x](data:text/html,<script>alert(1)</script>)",
];

/** A decision about one approval, as the console sends it. */
const decisionRequest = /\/v1\/approvals\/[^/]+\/decision$/;

describe.skipIf(executable === undefined)("chat and inbox", () => {
  let stage: ConsoleStage;
  let effects: EffectCounter;
  let model: Awaited<ReturnType<typeof startModelServer>>;

  beforeAll(async () => {
    effects = await startEffectCounter();
    model = await startModelServer("paced", async (asked, reply) => {
      const last = asked.messages.at(-1)?.content ?? "";
      if (!last.includes("alert(1)")) return await pacedAnswer(asked, reply);
      void reply.send({ content: last });
      reply.end();
    });
    stage = await startConsoleStage(executable as string, {
      LLM_BASE_URL: model.url,
      LLM_MODELS: "paced",
      TOOLS_ALLOWED_HOSTS: "127.0.0.1",
    });
  }, 90_000);
  afterAll(async () => {
    await stage?.stop();
    await model?.close();
    await effects?.close();
  });

  test("the first hour: a new person registers, asks, sees the call, and approves one that leaves the house", async () => {
    const browser = await stage.openBrowser();
    const { page, problems } = await browser.open("register");
    await page.getByLabel("Name").fill("Anna");
    await page.getByLabel("Email").fill("anna@shop.test");
    await page.getByLabel("Password", { exact: true }).fill("correct-horse-battery");
    await page.getByRole("button", { name: /register|create/i }).click();
    await page.waitForURL(/\/console\/chat/);
    const message = page.getByLabel("Message", { exact: true });
    await message.fill("use a tool");
    await message.press("Enter");
    await page.getByRole("button", { name: /calculator/ }).waitFor();
    await page.getByText("word0").waitFor();
    await message.fill(`post hello to ${effects.url}`);
    await message.press("Enter");
    await page.getByRole("button", { name: "Approve", exact: true }).click();
    await page.getByText("word0").nth(1).waitFor();
    expect(effects.bodies.filter((body) => body === "hello")).toHaveLength(1);
    expect(await problems()).toEqual([]);
    await browser.close();
  }, 60_000);

  test("a reload at any tenth of a streamed answer shows the same text as no reload, each word once", async () => {
    const account = await stage.register("reload@shop.test");
    const browser = await stage.openBrowser();
    const { page, problems } = await browser.logIn(account, "chat");
    await page.getByLabel("Message", { exact: true }).fill("say 100");
    await page.keyboard.press("Enter");
    for (let tenth = 1; tenth < 10; tenth += 1) {
      await page.getByText(new RegExp(`word${tenth * 10}\\b`)).waitFor();
      await page.reload();
    }
    await page.getByText(/word99\b/).waitFor();
    await page.getByText("Running").waitFor({ state: "detached" });
    const answer = page.getByRole("article", { name: "Answer" });
    await expect.poll(async () => (await answer.locator(".md").allInnerTexts()).join("").trim()).toBe(words(100).join(" "));
    expect(await answer.count()).toBe(1);
    expect(await problems()).toEqual([]);
    await browser.close();
  }, 60_000);

  test("two browsers that decide at the same moment see one decision, and nothing happens twice", async () => {
    const account = await stage.register("race@shop.test");
    await stage.call("POST", "/v1/conversations", account.token, { message: `post race to ${effects.url}` });
    const browsers = [await stage.openBrowser(), await stage.openBrowser()];
    const tabs = await Promise.all(browsers.map((browser) => browser.logIn(account, "inbox")));
    const [first, second] = tabs.map(({ page }) => page);
    if (first === undefined || second === undefined) throw new Error("There are two browsers.");
    await first.getByRole("button", { name: "Approve", exact: true }).click();
    const once = first.getByRole("button", { name: /cannot be undone/ });
    await once.waitFor();
    await second.getByRole("button", { name: "Reject…" }).click();
    await second.getByLabel("Reason, told to the model").fill("too late");
    const { promise: bothDecided, resolve: release } = Promise.withResolvers<void>();
    for (const page of [first, second]) {
      await page.route(decisionRequest, async (route) => {
        await bothDecided;
        await route.continue();
      });
    }
    const held = [first, second].map((page) => page.waitForRequest(decisionRequest));
    await once.click();
    await second.getByRole("button", { name: "Reject", exact: true }).click();
    await Promise.all(held);
    release();
    const own = /(Approved|Rejected) by you/;
    const theirs = /(Approved|Rejected) by race .*Nothing was sent by you/;
    await Promise.all(
      [first, second].map((page) =>
        page
          .getByText(new RegExp(`${own.source}|${theirs.source}`))
          .first()
          .waitFor(),
      ),
    );
    const texts = await Promise.all([first, second].map((page) => page.locator("main").innerText()));
    expect(texts.filter((text) => own.test(text))).toHaveLength(1);
    expect(texts.filter((text) => theirs.test(text))).toHaveLength(1);
    const { approvals } = await stage.call<{ approvals: object[] }>("GET", "/v1/approvals?status=approved", account.token);
    await expect.poll(() => effects.bodies.filter((body) => body === "race").length).toBe(approvals.length);
    for (const { problems } of tabs) expect(await problems(/status of 409/)).toEqual([]);
    await Promise.all(browsers.map((browser) => browser.close()));
  }, 60_000);

  test("the inbox is worked through with the keyboard alone, and the focus is never lost", async () => {
    const account = await stage.register("keys@shop.test");
    for (const name of ["one", "two"]) {
      await stage.call("POST", "/v1/conversations", account.token, { message: `post ${name} to ${effects.url}` });
    }
    const browser = await stage.openBrowser();
    const { page, problems } = await browser.logIn(account, "inbox");
    await page.getByText("2 calls wait for you").waitFor();
    const focused = () => page.evaluate(() => document.activeElement?.tagName ?? "");
    await page.keyboard.press("a");
    await page.getByRole("button", { name: /cannot be undone/ }).waitFor();
    await page.keyboard.press("a");
    await page.getByText("Approved by you").first().waitFor();
    expect(await focused()).not.toBe("BODY");
    await page.keyboard.press("r");
    await page.getByLabel("Reason, told to the model").focus();
    await page.keyboard.type("not this one");
    await page.keyboard.press("Control+Enter");
    await page.getByText("Rejected by you").first().waitFor();
    await expect.poll(() => effects.bodies.filter((body) => body === "one" || body === "two")).toEqual(["one"]);
    expect(await problems()).toEqual([]);
    await browser.close();
  }, 60_000);

  test("nothing that a person, a model or a tool writes becomes markup", async () => {
    const account = await stage.register("hostile@shop.test");
    await stage.call("POST", "/v1/conversations", account.token, { message: vectors.join("\n\n") });
    await stage.call("POST", "/v1/api-keys", account.token, { name: vectors[0] });
    await stage.call("POST", "/v1/conversations", account.token, {
      message: `post ${encodeURIComponent(vectors[1] ?? "")} to ${effects.url}`,
    });
    const browser = await stage.openBrowser();
    let dialogs = 0;
    const elsewhere: string[] = [];
    const { page, problems } = await browser.logIn(account, "runs");
    page.on("dialog", (dialog) => {
      dialogs += 1;
      void dialog.dismiss();
    });
    page.on("request", (request) => {
      if (!request.url().startsWith(stage.baseUrl)) elsewhere.push(request.url());
    });
    const { conversations } = await stage.call<{ conversations: { id: string }[] }>("GET", "/v1/conversations", account.token);
    const { runs } = await stage.call<{ runs: { id: string }[] }>("GET", "/v1/runs", account.token);
    const pages = [
      "keys",
      "inbox",
      "runs",
      ...conversations.map(({ id }) => `chat/${id}`),
      ...runs.map(({ id }) => `runs/${id}?tab=messages`),
    ];
    for (const path of pages) {
      await page.goto(`${stage.baseUrl}/console/${path}`);
      await page.locator("h1").filter({ hasNotText: "Loading" }).waitFor();
      await page.waitForLoadState("load");
      expect(
        await page.locator("main img, main iframe, main svg[onload], main a[href^='javascript:'], main a[href^='data:']").count(),
      ).toBe(0);
    }
    expect(dialogs).toBe(0);
    expect(elsewhere).toEqual([]);
    expect(await problems()).toEqual([]);
    await browser.close();
  }, 60_000);
});
