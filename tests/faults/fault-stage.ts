import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AskedRequest } from "@turnwright/testing/mock-model/asked";
import { question } from "@turnwright/testing/mock-model/draft";
import { type MockModel, startMockModel } from "@turnwright/testing/mock-model/mock-model";
import type { System } from "../e2e/system.ts";

/** Milliseconds that the model may be silent in these suites. */
export const silenceMs = 2_000;

/** Starts a system with these variables. */
export type StartSystem = (env: Record<string, string>) => Promise<System>;

/** The requests to a model, by the message that they are about. */
export class Requests {
  readonly #byMessage = new Map<string, AskedRequest[]>();

  /** Adds a request. */
  readonly add = (asked: AskedRequest): void => {
    const message = question(asked.body);
    const known = this.#byMessage.get(message);
    if (known === undefined) this.#byMessage.set(message, [asked]);
    else known.push(asked);
  };

  /** The requests about a message, in order. */
  about(message: string): readonly AskedRequest[] {
    return this.#byMessage.get(message) ?? [];
  }

  /** Forgets all. */
  clear(): void {
    this.#byMessage.clear();
  }
}

/** A system whose model's endpoint fails by the model's name. */
export interface FaultStage {
  readonly system: System;
  /** Requests to the endpoint that fails. */
  readonly requests: Requests;
  /** Requests to the endpoint that takes over; none when no model has a fallback. */
  readonly taken: Requests;
  /** Whether the process that was started still serves. */
  isServing(): Promise<boolean>;
  stop(): Promise<void>;
}

/** A model whose calls go to the failing endpoint first, and then to a good one. */
export interface FallbackModel {
  readonly name: string;
  /** Its name at the failing endpoint. */
  readonly upstream: string;
}

const common = {
  LLM_TIMEOUT: `${silenceMs}ms`,
  RATE_LIMIT_ENABLED: "false",
  SERVER_ADDRESS_CONNECTIONS: "0",
  LOG_LEVEL: "error",
};

async function stageOf(
  start: StartSystem,
  env: Record<string, string>,
  models: readonly MockModel[],
  recorded: { requests: Requests; taken: Requests },
): Promise<FaultStage> {
  const close = () => Promise.all(models.map((model) => model.close()));
  try {
    const system = await start({ ...common, ...env });
    return {
      system,
      ...recorded,
      async isServing() {
        try {
          process.kill(system.pid, 0);
          return (await fetch(`${system.baseUrl}/health`)).ok;
        } catch {
          return false;
        }
      },
      async stop() {
        await system.stop();
        await close();
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** A system with one endpoint, to which every model's name goes. */
export async function startFaultStage(start: StartSystem): Promise<FaultStage> {
  const requests = new Requests();
  const model = await startMockModel({ onAsked: requests.add });
  const env = { LLM_BASE_URL: model.url, LLM_API_KEY: "sk-faults", LLM_DEFAULT_MODEL: "mock" };
  return stageOf(start, env, [model], { requests, taken: new Requests() });
}

/** A system with a models file: each model fails at one provider and falls back to another. */
export async function startFallbackStage(start: StartSystem, fallbacks: readonly FallbackModel[]): Promise<FaultStage> {
  const [requests, taken] = [new Requests(), new Requests()];
  const failing = await startMockModel({ onAsked: requests.add });
  const good = await startMockModel({ onAsked: taken.add });
  const dir = mkdtempSync(join(tmpdir(), "turnwright-models-"));
  const file = join(dir, "models.json");
  const models = fallbacks.map(({ name, upstream }) => [name, { provider: "failing", upstream, fallbacks: ["good"] }]);
  const content = {
    providers: { failing: { base_url: failing.url }, good: { base_url: good.url } },
    models: { ...Object.fromEntries(models), good: { provider: "good", upstream: "mock-words-12" } },
  };
  writeFileSync(file, JSON.stringify(content));
  const stage = await stageOf(start, { MODELS_FILE: file }, [failing, good], { requests, taken });
  return {
    ...stage,
    async stop() {
      await stage.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
