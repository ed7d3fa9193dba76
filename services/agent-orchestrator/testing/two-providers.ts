import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { StreamFormat } from "@turnwright/contract/agent/v1/completion_service";
import { type ScriptedModel, startScriptedModel } from "@turnwright/testing/scripted-model";
import { afterEach, beforeEach } from "vitest";
import { asUser, type OrchestratorFixture, startOrchestrator } from "./orchestrator.ts";
import { failureOf } from "./runs.ts";
import { eventJson } from "./stream.ts";

/** The folder of the models file, `models.yaml`. */
export let folder: string;
/** The first provider, `one`. */
export let first: ScriptedModel;
/** The second provider, `two`. */
export let second: ScriptedModel;
/** The orchestrator of the current test. */
export let mesh: OrchestratorFixture;

/** Gives each test of a file two providers, and an orchestrator with a models file. */
export function useTwoProviders(): void {
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "turnwright-fallback-"));
    first = await startScriptedModel();
    second = await startScriptedModel();
    const path = join(folder, "models.yaml");
    writeFileSync(
      path,
      `providers:
  one: { base_url: "${first.url}", params: { rename: { max_tokens: max_completion_tokens } } }
  two: { base_url: "${second.url}", headers: { x-team: "\${PATH}" }, params: { deny: [seed] }, stream_options: false }
models:
  smart: { provider: one, upstream: one-large, price: { input: 1, output: 1 }, window: 8000, fallbacks: [cheap, alone] }
  cheap: { provider: two, upstream: two-small, price: { input: 10, output: 10 }, window: 32000 }
  alone: { provider: one }
aliases: { best: smart }
default_model: smart
`,
    );
    mesh = await startOrchestrator({ MODELS_FILE: path, LLM_BASE_URL: "" });
  });
  afterEach(async () => {
    await mesh.close();
    await Promise.all([first.close(), second.close()]);
    rmSync(folder, { recursive: true, force: true });
  });
}

/** A completion request. */
export const bytes = (body: object) => Buffer.from(JSON.stringify({ messages: [{ role: "user", content: "hi" }], ...body }));
export const complete = (body: object) => mesh.completions.complete({ body: bytes(body) }, asUser);

/** The text of a streamed completion, and the failure that ended it. */
export async function stream(body: object) {
  const pieces: Buffer[] = [];
  const read = async () => {
    const request = { body: bytes({ ...body, stream: true }), format: StreamFormat.OPENAI };
    for await (const { frames } of mesh.completions.streamComplete(request, asUser)) pieces.push(Buffer.from(frames));
  };
  const failure = await read().then(
    () => undefined,
    (error: unknown) => failureOf(Promise.reject(error)),
  );
  const frames = eventJson(Buffer.concat(pieces));
  const text = frames.map(({ choices }) => choices?.[0]?.delta?.content ?? "").join("");
  return { frames, text, failure: await failure };
}

/** The events of a conversation's turn. */
export async function turn(message = "hi") {
  const events = [];
  for await (const event of mesh.agent.streamTurn({ message }, asUser)) events.push(event);
  return events;
}

/** Text of the valid events: a reset drops those behind its position. */
export function textOf(events: Awaited<ReturnType<typeof turn>>): string {
  let valid: typeof events = [];
  const place = (id: string) => id.split(".").map(Number) as [number, number?];
  for (const event of events) {
    if (event.type === "reset") {
      const [seq, units = 0] = place(event.since);
      valid = valid.filter(({ eventId }) => {
        const [at, behind = 0] = place(eventId);
        return at < seq || (at === seq && behind <= units);
      });
    } else valid.push(event);
  }
  return valid.map(({ type, delta }) => (type === "content" ? delta : "")).join("");
}
