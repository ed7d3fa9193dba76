import { ErrorReason, fail } from "@turnwright/platform/errors";
import { afterEach, describe, expect, it } from "vitest";
import { type Fixture, startFixture } from "../fixtures/gateway.ts";
import type { ReadinessChecks } from "./health.ts";

let gateway: Fixture;
afterEach(() => gateway.close());

async function ready(checks: ReadinessChecks): Promise<{ status: number; body: unknown }> {
  gateway = await startFixture({ checks });
  const response = await fetch(`${gateway.url}/ready`);
  return { status: response.status, body: await response.json() };
}

describe("health", () => {
  it("is ok while the process is up, whatever its parts do", async () => {
    gateway = await startFixture({ checks: { database: () => Promise.reject(new Error("down")) } });
    const response = await fetch(`${gateway.url}/health`);
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({ success: true, data: { status: "ok" } });
  });

  it("is ready when every part is", async () => {
    const { status, body } = await ready({ database: () => Promise.resolve(), redis: () => Promise.resolve() });
    expect(status).toBe(200);
    expect(body).toEqual({ success: true, data: { status: "ready" } });
  });

  it.each([
    ["database", fail(ErrorReason.DATABASE_UNAVAILABLE, "no answer"), "DB_ERROR"],
    ["redis", fail(ErrorReason.REDIS_UNAVAILABLE, "no answer"), "REDIS_ERROR"],
    ["agent", fail(ErrorReason.UNAVAILABLE, "no answer"), "UNAVAILABLE"],
    ["tools", new Error("password of the database"), "UNAVAILABLE"],
  ])("names %s when it cannot serve", async (part, error, code) => {
    const { status, body } = await ready({ fine: () => Promise.resolve(), [part]: () => Promise.reject(error) });
    expect(status).toBe(503);
    expect(body).toEqual({
      success: false,
      error: { message: `${part} is not ready.`, type: "server_error", param: null, code },
    });
  });

  it("does not wait for a part that hangs", async () => {
    const { status, body } = await ready({ agent: () => new Promise(() => {}) });
    expect(status).toBe(503);
    expect(body).toMatchObject({ error: { message: "agent is not ready." } });
  });
});
