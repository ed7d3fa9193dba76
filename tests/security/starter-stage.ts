import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { signAccessToken } from "@turnwright/platform/identity/access-token";
import { createTestDatabase } from "@turnwright/testing/database";
import { type ScriptedModel, startScriptedModel } from "@turnwright/testing/scripted-model";
import { decodeJwt } from "jose";
import { type EffectCounter, startEffectCounter } from "../e2e/effect-counter.ts";
import { startSystem } from "../e2e/system.ts";
import { startMeshProcesses } from "../mesh/processes.ts";

/** A system in some shape, between a scripted model and what tools do to the world. */
export interface StarterStage {
  readonly model: ScriptedModel;
  readonly effects: EffectCounter;
  /** What happens before an effect is answered. */
  onEffect(then: () => Promise<unknown>): void;
  /** One request; of a mesh, each goes to the next gateway. */
  send(
    verb: string,
    path: string,
    bearer?: string,
    body?: object,
    signal?: AbortSignal,
  ): Promise<{ status: number; body: Answer }>;
  /** Another access token of the same login, which is refused after this time. */
  accessToken(token: string, lifetimeMs: number): Promise<string>;
  /** Where the next gateway listens. */
  url(): string;
  /** Kills what drives runs and what runs tools, and starts it again. */
  crash(): Promise<void>;
  close(): Promise<void>;
}

// biome-ignore lint/suspicious/noExplicitAny: answers of every route, read by their fields
type Answer = any;

/** Signs access tokens, so that tests can make some that end soon. */
const jwtSecret = "a-secret-of-access-tokens-for-tests";
/** Clocks may differ by so much. */
const toleranceMs = 30_000;

/** All in one process, or two of each part of a mesh. */
export async function startStarterStage(shape: "all-in-one" | "mesh", redisUrl: string): Promise<StarterStage> {
  const dir = mkdtempSync(join(tmpdir(), "turnwright-starter-"));
  const database = await createTestDatabase({ services: [] });
  const model = await startScriptedModel({ models: ["priced"] });
  let beforeAnswer: () => Promise<unknown> = async () => {};
  const effects = await startEffectCounter(() => beforeAnswer());
  const env = {
    LLM_DEFAULT_MODEL: "priced",
    // One millionth of a dollar for each token read, ten for each written.
    MODEL_PRICES: '{"priced":{"input":1,"output":10}}',
    TOOLS_ALLOWED_HOSTS: effects.host,
    JWT_SECRET: jwtSecret,
  };
  const alone = () =>
    startSystem({
      shape: "all-in-one",
      env: { ...env, TURNWRIGHT_DATA_DIR: dir, DATABASE_URL: database.url, LLM_BASE_URL: model.url },
    });
  const together = () =>
    startMeshProcesses({
      dir,
      databaseUrl: database.url,
      redisUrl,
      modelUrl: model.url,
      replicas: { conversation: 2, "agent-orchestrator": 2, gateway: 2 },
      env: { ...env, DB_MAX_OPEN_CONNS: "8" },
    });
  const system = shape === "mesh" ? undefined : { now: await alone() };
  const mesh = shape === "mesh" ? await together() : undefined;
  let sent = 0;
  const url = () => {
    const urls = mesh?.gateways ?? [system?.now.baseUrl ?? ""];
    return urls[sent++ % urls.length] as string;
  };
  return {
    url,
    model,
    effects,
    onEffect(then) {
      beforeAnswer = then;
    },
    async accessToken(token, lifetimeMs) {
      const { sub: userId = "", sid: sessionId = "", role = "user" } = decodeJwt<{ sid: string; role: string }>(token);
      const expiresAt = Date.now() - toleranceMs + lifetimeMs;
      return await signAccessToken({ secret: jwtSecret }, { userId, sessionId, role, expiresAt });
    },
    async send(verb, path, bearer, body, signal) {
      const response = await fetch(url() + path, {
        method: verb,
        signal,
        headers: {
          ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }),
          ...(body === undefined ? {} : { "content-type": "application/json" }),
        },
        body: body === undefined ? undefined : JSON.stringify(body),
      });
      return { status: response.status, body: await response.json() };
    },
    async crash() {
      if (system !== undefined) {
        await system.now.killAll();
        system.now = await alone();
      }
      const parts = [...(mesh?.of("agent-orchestrator") ?? []), ...(mesh?.of("tool-executor") ?? [])];
      await Promise.all(parts.map((part) => part.kill()));
      await Promise.all(parts.map((part) => part.start()));
    },
    async close() {
      await Promise.all([system?.now.stop(), mesh?.stop()]);
      await effects.close();
      await model.close();
      await database.drop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
