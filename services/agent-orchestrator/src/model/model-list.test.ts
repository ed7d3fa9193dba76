import { createLogger } from "@turnwright/platform/logger";
import { afterEach, expect, test, vi } from "vitest";
import type { ModelClient } from "./model-client.ts";
import { createModelList } from "./model-list.ts";

afterEach(() => {
  vi.useRealTimers();
});

function listOver(listModels: () => Promise<string[]>) {
  const listed = vi.fn(listModels);
  const logger = createLogger({ service: "test", level: "silent" });
  const list = createModelList({
    model: { listModels: listed } as Partial<ModelClient> as ModelClient,
    defaultModel: "gpt-test",
    logger,
  });
  return { list, listed };
}

test("the default model is listed first and once, and the endpoint is asked once a minute", async () => {
  vi.useFakeTimers({ toFake: ["Date"] });
  const { list, listed } = listOver(async () => ["a", "gpt-test", "b"]);
  const [first, second] = await Promise.all([list.names(), list.names()]);
  expect(first).toEqual(["gpt-test", "a", "b"]);
  expect(second).toEqual(first);
  await list.names();
  expect(listed).toHaveBeenCalledTimes(1);
  vi.setSystemTime(Date.now() + 60_000);
  await list.names();
  expect(listed).toHaveBeenCalledTimes(2);
});

test("an endpoint that does not answer leaves the known list in place", async () => {
  vi.useFakeTimers({ toFake: ["Date"] });
  const answers = [async () => ["a"], () => Promise.reject(new Error("away"))];
  const { list } = listOver(() => answers.shift()?.() ?? Promise.reject(new Error("away")));
  await list.names();
  vi.setSystemTime(Date.now() + 60_000);
  expect(await list.names()).toEqual(["gpt-test", "a"]);
  const { list: never } = listOver(() => Promise.reject(new Error("away")));
  expect(await never.names()).toEqual(["gpt-test"]);
});
