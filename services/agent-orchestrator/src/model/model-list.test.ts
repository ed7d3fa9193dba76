import { createLogger } from "@turnwright/platform/logger";
import { afterEach, expect, test, vi } from "vitest";
import type { ModelClient } from "./model-client.ts";
import { createModelList } from "./model-list.ts";
import { createPlainRoutes } from "./routes/model-routes.ts";

afterEach(() => {
  vi.useRealTimers();
});

function listOver(listModels: () => Promise<string[]>) {
  const listed = vi.fn(listModels);
  const logger = createLogger({ service: "test", level: "silent" });
  const client = { listModels: listed } as Partial<ModelClient> as ModelClient;
  const routes = createPlainRoutes({ name: "default", client, connections: 1, defaultModel: "gpt-test" }, new Map());
  const list = createModelList({ routes, logger });
  return { listed, names: async () => (await list.models()).map(({ id }) => id) };
}

test("the default model is listed first and once, and the endpoint is asked once a minute", async () => {
  vi.useFakeTimers({ toFake: ["Date"] });
  const { names, listed } = listOver(async () => ["a", "gpt-test", "b"]);
  const [first, second] = await Promise.all([names(), names()]);
  expect(first).toEqual(["gpt-test", "a", "b"]);
  expect(second).toEqual(first);
  await names();
  expect(listed).toHaveBeenCalledTimes(1);
  vi.setSystemTime(Date.now() + 60_000);
  await names();
  expect(listed).toHaveBeenCalledTimes(2);
});

test("an endpoint that does not answer leaves the known list in place", async () => {
  vi.useFakeTimers({ toFake: ["Date"] });
  const answers = [async () => ["a"], () => Promise.reject(new Error("away"))];
  const { names } = listOver(() => answers.shift()?.() ?? Promise.reject(new Error("away")));
  await names();
  vi.setSystemTime(Date.now() + 60_000);
  expect(await names()).toEqual(["gpt-test", "a"]);
  const { names: never } = listOver(() => Promise.reject(new Error("away")));
  expect(await never()).toEqual(["gpt-test"]);
});
