import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { migratedServices } from "@turnwright/platform/postgres/migrations";
import { createTestDatabase, type TestDatabase } from "@turnwright/testing/database";
import { startModelServer } from "@turnwright/testing/model-server";
import { testRedis } from "@turnwright/testing/redis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildConsole } from "../../console/build.ts";
import { pacedAnswer, words } from "../durability/paced-model.ts";
import { restApi } from "../e2e/api.ts";
import { type MeshProcesses, startMeshProcesses } from "../mesh/processes.ts";
import { findChromium } from "./chromium.ts";
import { openConsoleBrowser } from "./console-stage.ts";

const what = "the console over killed processes";
const executable = findChromium(what);
const redis = await testRedis(what);

/** Words of an answer, 50 ms each: it is still being spoken when the killed process is back. */
const length = 160;

describe.skipIf(executable === undefined || redis === undefined)("an open page", () => {
  let dir: string;
  let database: TestDatabase;
  let model: Awaited<ReturnType<typeof startModelServer>>;
  let mesh: MeshProcesses;
  const account = { email: "kill@shop.test", password: "correct-horse-battery", token: "" };

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "turnwright-console-kill-"));
    database = await createTestDatabase({ services: migratedServices });
    model = await startModelServer("paced", pacedAnswer);
    const { folder } = await buildConsole();
    mesh = await startMeshProcesses({
      dir,
      databaseUrl: database.url,
      redisUrl: redis as string,
      modelUrl: model.url,
      replicas: {},
      env: { DB_ROLE_PREFIX: "turnwright", LLM_MODELS: "paced", CONSOLE_DIR: folder },
    });
    const [baseUrl = ""] = mesh.gateways;
    await restApi(baseUrl).register(account.email, account.password);
  }, 120_000);
  afterAll(async () => {
    await mesh?.stop();
    await model?.close();
    await database?.drop();
    rmSync(dir, { recursive: true, force: true });
  });

  test.each([["agent-orchestrator"], ["gateway"]] as const)(
    "goes on by itself after a kill -9 of the %s in mid-answer, without a login, and ends with the whole answer",
    async (kind) => {
      const browser = await openConsoleBrowser(executable as string, mesh.gateways[0] ?? "");
      const { page, problems } = await browser.logIn(account, "chat");
      await page.getByLabel("Message", { exact: true }).fill(`say ${length}`);
      await page.keyboard.press("Enter");
      await page.getByText(/word10\b/).waitFor();
      const [part] = mesh.of(kind);
      await part?.kill();
      await page.getByText("Reconnecting…").first().waitFor();
      await part?.start();
      await page.getByText(new RegExp(`word${length - 1}\\b`)).waitFor({ timeout: 45_000 });
      await page.getByText("Running").waitFor({ state: "detached" });
      const answer = page.getByRole("article", { name: "Answer" });
      await expect
        .poll(async () => (await answer.locator(".md").allInnerTexts()).join("").trim(), { timeout: 10_000 })
        .toBe(words(length).join(" "));
      expect(page.url()).toMatch(/\/console\/chat\//);
      // A browser lists what a killed server did not answer.
      expect(await problems(/ERR_|status of 50[0-9]/)).toEqual([]);
      await browser.close();
    },
    90_000,
  );
});
