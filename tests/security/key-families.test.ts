import { testRedis } from "@turnwright/testing/redis";
import { startWebhookReceiver, type WebhookReceiver } from "@turnwright/testing/webhook-receiver";
import { afterAll, beforeAll, describe } from "vitest";
import { type EffectCounter, startEffectCounter } from "../e2e/effect-counter.ts";
import { testDecisionRights } from "./decision-rights-suite.ts";
import { type Stage, startStage } from "./stage.ts";
import { testWebhooksOfEndedKeys } from "./webhooks-of-ended-keys-suite.ts";

const redisUrl = await testRedis("decision rights and webhooks of ended keys in the mesh");

// Both suites use one system, because its start costs more than most of their tests.
describe.each(redisUrl === undefined ? ["all-in-one" as const] : ["all-in-one" as const, "mesh" as const])("%s", (shape) => {
  let stage: Stage;
  let effects: EffectCounter;
  let receiver: WebhookReceiver;
  beforeAll(async () => {
    effects = await startEffectCounter();
    receiver = await startWebhookReceiver();
    const allowed = { TOOLS_ALLOWED_HOSTS: effects.host, WEBHOOK_ALLOWED_HOSTS: receiver.host };
    stage = await startStage({ shape, env: { ...allowed, REDIS_URL: redisUrl ?? "" } });
  }, 120_000);
  afterAll(async () => {
    await stage?.stop();
    await effects?.close();
    await receiver?.close();
  });
  const given = () => ({ stage, effects, receiver });

  testDecisionRights(shape, given);
  testWebhooksOfEndedKeys(shape, given);
});
