import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { testedEnvironment } from "../tested-environment.ts";
import { startAllInOne } from "./all-in-one.ts";
import { restApi } from "./api.ts";
import type { System } from "./system.ts";

let system: System;
const folder = mkdtempSync(join(tmpdir(), "turnwright-broken-"));
const file = join(folder, "way");
const breakStores = (way: string) => writeFileSync(file, way);

beforeAll(async () => {
  breakStores("");
  const preload = pathToFileURL(join(import.meta.dirname, "break-stores.mjs")).href;
  const options = [testedEnvironment().NODE_OPTIONS ?? "", `--import=${preload}`].join(" ").trim();
  system = await startAllInOne({ NODE_OPTIONS: options, BROKEN_STORES: file });
});
afterAll(async () => {
  await system.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** How long the stores stay broken, in milliseconds: several rounds of every timer. */
const brokenMs = 2_500;

test.each(["throws", "rejects", "rejects with nothing", "answers with nonsense"])(
  "no timer, flush or request ends the process while every store %s, and it serves again afterwards",
  async (way) => {
    const api = restApi(system.baseUrl);
    const email = `broken-${randomUUID()}@example.com`;
    await api.register(email, "correct-horse-battery");
    const { accessToken } = await api.login(email, "correct-horse-battery");
    const { conversationId } = await api.createConversation(accessToken, "before");
    breakStores(way);
    const headers = { authorization: `Bearer ${accessToken}`, "content-type": "application/json" };
    const ask = (path: string, body: object) =>
      fetch(system.baseUrl + path, {
        method: "POST",
        headers,
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(brokenMs),
      }).then(
        (response) => response.text(),
        () => undefined,
      );
    const messages = [{ role: "user", content: "hi" }];
    await Promise.all([
      delay(brokenMs),
      ...[false, true].map((stream) => ask("/v1/chat/completions", { messages, stream })),
      ask("/v1/conversations", { message: "meanwhile" }),
      ask(`/v1/conversations/${conversationId}/messages`, { message: "meanwhile", stream: true }),
      ask("/v1/tools/calculator/execute", { arguments: { expression: "1+1" } }),
    ]);
    breakStores("");
    await expect.poll(async () => (await fetch(`${system.baseUrl}/ready`)).status, { timeout: 15_000 }).toBe(200);
    const after = await api.createConversation(accessToken, "after");
    expect(after.conversationId).not.toBe("");
  },
  40_000,
);

test("the failures were met, and none was left to the last resort of the process", () => {
  expect(system.log()).toContain("the store is broken");
  expect(system.log()).not.toContain("unhandled promise rejection");
});
