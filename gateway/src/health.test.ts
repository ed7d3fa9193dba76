import openapi from "@turnwright/contract/openapi.json" with { type: "json" };
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { afterEach, describe, expect, test } from "vitest";
import { type Fixture, startFixture } from "../testing/gateway.ts";
import type { ReadinessChecks } from "./health.ts";

let gateway: Fixture;
afterEach(() => gateway.close());

async function ready(checks: ReadinessChecks): Promise<{ status: number; body: unknown }> {
  gateway = await startFixture({ checks });
  const response = await fetch(`${gateway.url}/ready`);
  return { status: response.status, body: await response.json() };
}

describe("health", () => {
  test("is ok while the process is up, regardless of its parts", async () => {
    gateway = await startFixture({ checks: { database: () => Promise.reject<void>(new Error("down")) } });
    const response = await fetch(`${gateway.url}/health`);
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({ success: true, data: { status: "ok" } });
  });

  test("is ready when every part is", async () => {
    const { status, body } = await ready({ database: () => Promise.resolve(), redis: () => Promise.resolve() });
    expect(status).toBe(200);
    expect(body).toEqual({ success: true, data: { status: "ready" } });
  });

  test.each([
    ["redis", fail(ErrorReason.REDIS_UNAVAILABLE, "no answer"), "REDIS_ERROR"],
    ["agent", fail(ErrorReason.UNAVAILABLE, "no answer"), "UNAVAILABLE"],
    ["tools", new Error("password of the database"), "UNAVAILABLE"],
  ])("names %s when it cannot serve", async (part, error, code) => {
    const { status, body } = await ready({ fine: () => Promise.resolve(), [part]: () => Promise.reject<void>(error) });
    expect(status).toBe(503);
    expect(body).toEqual({
      success: false,
      error: { message: `${part} is not ready.`, type: "server_error", param: null, code },
    });
  });

  test.each([
    ["auth", ErrorReason.DATABASE_UNAVAILABLE, "DB_ERROR"],
    ["redis", ErrorReason.REDIS_UNAVAILABLE, "REDIS_ERROR"],
  ] as const)("answers as the API docs show when %s has no store", async (part, reason, code) => {
    const { body } = await ready({ [part]: () => Promise.reject<void>(fail(reason, "no answer")) });
    expect(body).toEqual(openapi.components.responses.Unavailable.content["application/json"].examples[code].value);
  });

  test("names the database first, and the parts that get no answer from it", async () => {
    const away = () => Promise.reject<void>(fail(ErrorReason.DATABASE_UNAVAILABLE, "no answer"));
    const { status, body } = await ready({
      redis: () => Promise.reject<void>(fail(ErrorReason.REDIS_UNAVAILABLE, "no answer")),
      auth: away,
      conversation: away,
      "agent-orchestrator": () => Promise.reject<void>(new Error("no journal")),
    });
    expect(status).toBe(503);
    const message = "database is not ready: no answer to auth, conversation.";
    expect(body).toEqual({ success: false, error: { message, type: "server_error", param: null, code: "DB_ERROR" } });
  });

  test("tells what the database lacks", async () => {
    const full = () => Promise.reject<void>(fail(ErrorReason.DATABASE_UNAVAILABLE, "the database's disk is full"));
    const away = () => Promise.reject<void>(fail(ErrorReason.DATABASE_UNAVAILABLE, "no answer"));
    const message = "database is not ready: the database's disk is full; it refuses auth, conversation.";
    expect((await ready({ auth: away, conversation: full })).body).toMatchObject({ error: { message, code: "DB_ERROR" } });
  });

  test("names the part that others depend on, whichever failed first", async () => {
    const late = Promise.withResolvers<void>();
    const asked = ready({
      conversation: () => late.promise,
      "agent-orchestrator": () => Promise.reject<void>(new Error("no journal")).finally(() => late.reject(new Error("gone"))),
    });
    expect((await asked).body).toMatchObject({ error: { message: "conversation is not ready." } });
  });

  test("is ready while a replica of each part serves, and lists the parts that lack some", async () => {
    const { status, body } = await ready({
      auth: () => Promise.resolve({ serving: 2, failing: [] }),
      "tool-executor": () => Promise.resolve({ serving: 1, failing: ["10.0.0.7:9104", "10.0.0.8:9104"] }),
    });
    expect(status).toBe(200);
    const degraded = [{ part: "tool-executor", serving: 1, replicas: 3 }];
    expect(body).toEqual({ success: true, data: { status: "ready", degraded } });
  });

  test("is ready with what a part says about itself", async () => {
    const details = { breakers: [{ provider: "one", model: "m", state: "open", failures: 5, retry_in_ms: 1_200 }] };
    const { status, body } = await ready({
      auth: () => Promise.resolve({ serving: 1, failing: [] }),
      "agent-orchestrator": () => Promise.resolve({ serving: 1, failing: [], details }),
    });
    expect(status).toBe(200);
    expect(body).toEqual({ success: true, data: { status: "ready", details: { "agent-orchestrator": details } } });
  });

  test("checks its parts once for all requests at the same time and within a second", async () => {
    const gate = Promise.withResolvers<void>();
    let looks = 0;
    gateway = await startFixture({
      checks: {
        auth: () => {
          looks += 1;
          return gate.promise;
        },
      },
    });
    const ask = () => fetch(`${gateway.url}/ready`).then((response) => response.status);
    const together = Array.from({ length: 20 }, ask);
    await expect.poll(() => looks).toBe(1);
    gate.resolve();
    expect(await Promise.all(together)).toEqual(Array(20).fill(200));
    expect(await ask()).toBe(200);
    expect(looks).toBe(1);
    await expect.poll(async () => [await ask(), looks], { timeout: 3_000 }).toEqual([200, 2]);
  });

  test("does not wait for a part that hangs", async () => {
    const { status, body } = await ready({ agent: () => new Promise<void>(() => {}) });
    expect(status).toBe(503);
    expect(body).toMatchObject({ error: { message: "agent is not ready." } });
  });
});
