import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { signAccessToken } from "@turnwright/platform/identity/access-token";
import { migratedServices } from "@turnwright/platform/postgres/migrations";
import { createTestDatabase } from "@turnwright/testing/database";
import { type FaultProxy, faultProxy } from "@turnwright/testing/fault-proxy";
import { type ScriptedModel, type ScriptedRequest, startScriptedModel } from "@turnwright/testing/scripted-model";
import { decodeJwt } from "jose";
import { type EffectCounter, startEffectCounter } from "../e2e/effect-counter.ts";
import { startSystem } from "../e2e/system.ts";
import type { Json } from "../json-call.ts";
import { startMeshProcesses } from "../mesh/processes.ts";
import { type EndlessAnswers, endlessAnswers, spendEnvironment } from "./spend-attack.ts";

/** A system of either shape, with a scripted model and an effect server for tools. */
export interface StarterStage {
  /**
   * Beyond its script it never finishes the calls of a spending attack, pauses in the answer to `Wait`, and answers
   * `Hello.` to the rest.
   */
  readonly model: ScriptedModel;
  readonly endless: EndlessAnswers;
  /** The addresses of all gateways. */
  readonly gateways: readonly string[];
  readonly databaseUrl: string;
  /** In front of the mesh's Redis. */
  readonly redis: FaultProxy | undefined;
  readonly effects: EffectCounter;
  /** Sets the work to finish before an effect is answered. */
  onEffect(then: () => Promise<unknown>): void;
  /** Sends a request; in a mesh, gateways take turns. */
  send(verb: string, path: string, bearer?: string, body?: object, signal?: AbortSignal): Promise<{ status: number; body: Json }>;
  /** Another access token of the same login, which is refused after `lifetimeMs`. */
  accessToken(token: string, lifetimeMs: number): Promise<string>;
  /** The address of the next gateway. */
  url(): string;
  /** Kills the processes that drive runs and run tools, and restarts them. */
  crash(): Promise<void>;
  close(): Promise<void>;
}

/** Signs access tokens, so that tests can issue ones that expire soon. */
const jwtSecret = "a-secret-of-access-tokens-for-tests";
/** The clock tolerance of the token check. */
const toleranceMs = 30_000;

const never = new Promise<never>(() => {});

/** All in one process, or a mesh with two conversation services, orchestrators and gateways. */
export async function startStarterStage(shape: "all-in-one" | "mesh", redisUrl: string): Promise<StarterStage> {
  const dir = mkdtempSync(join(tmpdir(), "turnwright-starter-"));
  const database = await createTestDatabase({ services: migratedServices });
  const endless = endlessAnswers();
  const answer = (request: ScriptedRequest) => {
    if (endless.isAsked(request)) return endless.answer(request);
    if (!JSON.stringify(request.body.messages).includes("Wait")) return { text: "Hello." };
    return { text: "Yes. ".repeat(50), pauseAfter: { pieces: 5, gate: never } };
  };
  const model = await startScriptedModel({ models: ["priced", "small"], answer });
  const redis = shape === "mesh" ? await faultProxy(new URL(redisUrl)) : undefined;
  let beforeAnswer: () => Promise<unknown> = async () => {};
  const effects = await startEffectCounter(() => beforeAnswer());
  const env = {
    ...spendEnvironment,
    TOOLS_ALLOWED_HOSTS: "127.0.0.1",
    JWT_SECRET: jwtSecret,
    DB_ROLE_PREFIX: "turnwright",
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
      redisUrl: redis?.url ?? "",
      modelUrl: model.url,
      replicas: { conversation: 2, "agent-orchestrator": 2, gateway: 2 },
      env: { ...env, DB_MAX_OPEN_CONNS: "8" },
    });
  const system = shape === "mesh" ? undefined : { now: await alone() };
  const mesh = shape === "mesh" ? await together() : undefined;
  let sent = 0;
  const gateways = () => mesh?.gateways ?? [system?.now.baseUrl ?? ""];
  const url = () => gateways()[sent++ % gateways().length] as string;
  return {
    url,
    get gateways() {
      return gateways();
    },
    databaseUrl: database.url,
    redis,
    model,
    endless,
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
      redis?.close();
      await effects.close();
      await model.close();
      await database.drop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
