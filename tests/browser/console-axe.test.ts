import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import type { Page, Request } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findChromium } from "./chromium.ts";
import { adminEnvironment, preparePages } from "./console-pages.ts";
import { type ConsoleBrowser, type ConsoleStage, startConsoleStage, type WatchedPage } from "./console-stage.ts";

const executable = findChromium("the accessibility of every page of the console");
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

interface AxeResults {
  readonly violations: readonly {
    readonly id: string;
    readonly nodes: readonly { readonly html: string; readonly failureSummary: string }[];
  }[];
}

const all = [
  ["light", 1280],
  ["dark", 390],
  ["dark", 1280],
  ["light", 390],
] as const;
/** Each page in both schemes and in both widths; every combination with EVERY_LOOK=1. */
const looks = process.env.EVERY_LOOK === "1" ? all : all.slice(0, 2);
/** A folder for pictures of the pages: `npm run console:screens`. */
const screens = process.env.SCREENS;

/** Waits until the page has been drawn twice: for its data's requests, or for their answers. */
const drawn = (page: Page) =>
  page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));

describe.skipIf(executable === undefined)("every page of the console", () => {
  let stage: ConsoleStage;
  let browser: ConsoleBrowser;
  let watched: WatchedPage;
  let pages: readonly string[];
  /** Requests without an answer; streams have none for as long as they last. */
  const underWay = new Set<Request>();

  beforeAll(async () => {
    stage = await startConsoleStage(executable as string, adminEnvironment);
    const shown = await preparePages(stage);
    pages = shown.pages;
    browser = await stage.openBrowser();
    watched = await browser.logIn(shown.account, "account");
    const { page } = watched;
    page.on("request", (request) => {
      if (!new URL(request.url()).pathname.endsWith("/events")) underWay.add(request);
    });
    page.on("requestfinished", (request) => underWay.delete(request));
    page.on("requestfailed", (request) => underWay.delete(request));
    await page.evaluate(axe);
  }, 90_000);
  afterAll(() => stage?.stop());

  test.each(looks)(
    "has no violation of axe and no sideways scroll, %s at %d px",
    async (colorScheme, width) => {
      const { page } = watched;
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: 900 });
      const found: string[] = [];
      for (const path of pages) {
        // As a link of the console does: no page is loaded.
        await page.evaluate((href) => {
          history.pushState({}, "", href);
          dispatchEvent(new PopStateEvent("popstate"));
        }, `/console/${path}`);
        await page.locator("main h1").filter({ hasNotText: "Loading" }).waitFor({ timeout: 5_000 });
        await drawn(page);
        await expect.poll(() => underWay.size, { timeout: 5_000 }).toBe(0);
        await drawn(page);
        const { violations } = (await page.evaluate("axe.run(document)")) as AxeResults;
        for (const { id, nodes } of violations) {
          found.push(`${path}: ${id}: ${nodes[0]?.html.slice(0, 200)} ${nodes[0]?.failureSummary}`);
        }
        if (screens !== undefined) {
          const name = path.replaceAll(/[0-9a-f]{8}-[0-9a-f-]{27}/g, "id").replaceAll(/\W+/g, "-");
          await page.screenshot({ path: join(screens, `${name}-${width}-${colorScheme}.png`) });
        }
        const isWide = await page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
        if (isWide) found.push(`${path}: scrolls sideways`);
      }
      expect(found).toEqual([]);
      expect(await watched.problems()).toEqual([]);
    },
    120_000,
  );
});
