import { describe, expect, test } from "vitest";
import { serveStores } from "./store-servers.ts";

describe("a machine without Redis", () => {
  test("has no URL for one", async () => {
    const stores = await serveStores({ redisProgram: "turnwright-no-such-program" });
    const response = await fetch(`${stores.address}/redis`);
    expect(await response.json()).toEqual({});
    await stores.stop();
  });
});

describe("the run's stores", () => {
  test("report an unknown store", async () => {
    const stores = await serveStores();
    const response = await fetch(`${stores.address}/mongo`);
    expect(response.status).toBe(500);
    await stores.stop();
  });
});
