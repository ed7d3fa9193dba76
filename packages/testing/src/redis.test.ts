import { afterEach, describe, expect, test, vi } from "vitest";
import { reportUntested } from "./redis.ts";
import { serveStores } from "./store-servers.ts";

afterEach(() => {
  vi.restoreAllMocks();
});

describe("a machine without Redis", () => {
  test("has no URL for one", async () => {
    const stores = await serveStores({ redisProgram: "turnwright-no-such-program" });
    const response = await fetch(`${stores.address}/redis`);
    expect(await response.json()).toEqual({});
    await stores.stop();
  });

  test("says loudly what goes untested", () => {
    const write = vi.spyOn(process.stderr, "write").mockReturnValue(true);
    reportUntested("the thing", false);
    expect(write).toHaveBeenCalledWith(expect.stringContaining("NOT TESTED: the thing"));
  });

  test("fails when everything must be tested", () => {
    expect(() => reportUntested("the thing", true)).toThrow("NOT TESTED: the thing");
  });
});

describe("the run's stores", () => {
  test("report a store that nobody knows", async () => {
    const stores = await serveStores();
    const response = await fetch(`${stores.address}/mongo`);
    expect(response.status).toBe(500);
    await stores.stop();
  });
});
