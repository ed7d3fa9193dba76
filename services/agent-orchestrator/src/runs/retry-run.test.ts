import { uuidv7 } from "@turnwright/platform/uuid";
import { expect, test } from "vitest";
import { retryIdOf } from "./retry-run.ts";

test("the id of a retry follows from the run's alone, is a UUIDv7 of its time, and differs for each run", () => {
  const ids = Array.from({ length: 200 }, () => uuidv7(1_800_000_000_000));
  const retries = ids.map(retryIdOf);
  expect(new Set([...ids, ...retries]).size).toBe(400);
  for (const [index, retry] of retries.entries()) {
    expect(retry).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(retry.slice(0, 13)).toBe(ids[index]?.slice(0, 13));
    expect(retryIdOf(ids[index]?.toUpperCase() ?? "")).toBe(retry);
  }
});
