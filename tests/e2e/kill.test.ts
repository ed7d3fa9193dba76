import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Api, restApi } from "./api.ts";
import { type EffectCounter, startEffectCounter } from "./effect-counter.ts";
import { startSystem } from "./system.ts";

const password = "correct-horse-battery";

/** With PostgreSQL outside: recovery.test.ts. */
describe("kill -9 of every process while a run waits for a person", () => {
  let dataDir: string;
  let effects: EffectCounter;

  beforeEach(async () => {
    dataDir = mkdtempSync(join(tmpdir(), "turnwright-kill-"));
    effects = await startEffectCounter();
  });
  afterEach(async () => {
    await effects.close();
    rmSync(dataDir, { recursive: true, force: true });
  });

  /** Creates a user and a conversation that waits for the approval of an HTTP request. */
  async function parkedRun(api: Api) {
    const email = `kill-${randomUUID()}@example.com`;
    await api.register(email, password);
    const { accessToken } = await api.login(email, password);
    const body = `survives ${randomUUID()}`;
    const parked = await api.createConversation(accessToken, `Send an HTTP request to ${effects.url} saying ${body}`);
    expect(parked.response).toBe("pending_approval");
    return { email, body, conversationId: parked.conversationId };
  }

  test("lets the run finish after a restart of the all-in-one process and its embedded PostgreSQL", async () => {
    const options = { shape: "all-in-one", env: { TURNWRIGHT_DATA_DIR: dataDir, TOOLS_ALLOWED_HOSTS: effects.host } } as const;
    const first = await startSystem(options);
    const run = await parkedRun(restApi(first.baseUrl));
    await first.killAll();
    expect(effects.bodies).toEqual([]);

    const second = await startSystem(options);
    try {
      const api = restApi(second.baseUrl);
      const { accessToken } = await api.login(run.email, password);
      expect((await api.getConversation(accessToken, run.conversationId)).status).toBe("pending_approval");
      const decided = await api.approve(accessToken, run.conversationId, true, "Still wanted");
      expect(decided.status).toBe("approved");
      expect(effects.bodies).toEqual([run.body]);
      const record = await api.getConversation(accessToken, run.conversationId);
      expect(record.roles).toEqual(["user", "assistant", "tool", "assistant"]);
      expect(record.status).toBe("active");
    } finally {
      await second.stop();
    }
  }, 120_000);
});
