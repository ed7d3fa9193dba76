import { InfoService } from "@turnwright/contract/system/v1/info_service";
import { afterEach, expect, test } from "vitest";
import { type Fixture, startFixture } from "../../testing/gateway.ts";
import { publicServices } from "../public-services.ts";
import { featuresOf } from "./info.ts";
import type { Parts } from "./parts.ts";

let gateway: Fixture;
afterEach(() => gateway?.close());

const told = (report: unknown) => async () => [{ instance: "a:1", report }];

async function start(parts: Parts, env: Record<string, string> = {}): Promise<void> {
  gateway = await startFixture({ services: [InfoService], parts, env });
}

const info = () => fetch(`${gateway.url}/v1/info`);

test("the facts of an installation are told without a credential, and cost its parts one question in five seconds", async () => {
  let questions = 0;
  const auth = () => {
    questions += 1;
    return told({ registration: "invite" })();
  };
  await start(
    { auth, "agent-orchestrator": told({ demo_model: true }) },
    { SSE_HEARTBEAT: "2500ms", SERVER_BODY_LIMIT: "2097152" },
  );
  const [response] = await Promise.all([info(), info(), info()]);
  expect(response.status).toBe(200);
  expect(await response.json()).toEqual({
    success: true,
    data: {
      version: expect.stringMatching(/^\d+\.\d+\.\d+/),
      registration: "invite",
      demo_model: true,
      currency: "USD",
      heartbeat_seconds: 2.5,
      body_limit_bytes: 2_097_152,
      features: expect.arrayContaining(["system"]),
    },
  });
  await info();
  expect(questions).toBe(1);
});

test("instances that are silent or older are passed over, and a part that has told nothing makes the facts unavailable", async () => {
  const older = { instance: "b:1", report: undefined };
  let reports: { instance: string; report: unknown }[] = [older];
  await start({ auth: async () => reports, "agent-orchestrator": told({ demo_model: false }) });
  const early = await info();
  expect(early.status).toBe(503);
  expect(await early.json()).toMatchObject({ error: { code: "UNAVAILABLE" } });
  reports = [older, { instance: "c:1", report: { registration: "closed" } }];
  expect(await (await info()).json()).toMatchObject({ data: { registration: "closed", demo_model: false } });
});

test("a request counts against the limit of reads per address", async () => {
  await start({ auth: told({ registration: "open" }), "agent-orchestrator": told({ demo_model: true }) });
  const limit = Number((await info()).headers.get("x-ratelimit-limit"));
  expect(limit).toBe(600);
});

test("a feature is a tag of the served methods, with `.write` where something can be changed", () => {
  const all = featuresOf(Object.values(publicServices).flat());
  expect(all).toEqual(
    expect.arrayContaining(["agents", "approvals", "approvals.write", "runs", "runs.write", "system", "webhooks.write"]),
  );
  expect(all).not.toContain("system.write");
  expect(featuresOf(publicServices.tools).filter((name) => !name.startsWith("tools"))).toEqual([]);
  expect(all).toEqual([...all].sort());
});
