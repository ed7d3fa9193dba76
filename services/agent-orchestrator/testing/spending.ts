import { StreamFormat } from "@turnwright/contract/agent/v1/completion_service";
import type { UsageRecord } from "@turnwright/contract/auth/v1/usage_service";
import { reasonOf } from "@turnwright/platform/errors";
import { expect } from "vitest";
import { asUser, type OrchestratorFixture } from "./orchestrator.ts";

/** 1 millionth of a dollar per input token, 10 per output token. */
export const testPrices = '{"gpt-test":{"input":1,"output":10}}';

/** A prompt of this many bytes, made of words. */
export const promptOf = (bytes: number) => "word ".repeat(Math.ceil(bytes / 5)).slice(0, bytes);

export const bodyOf = (rest: object = {}) =>
  Buffer.from(JSON.stringify({ model: "gpt-test", tool_choice: "none", messages: [{ role: "user", content: "hi" }], ...rest }));

/** Total of the usage records of a test. */
export interface Recorded {
  readonly requests: number;
  readonly prompt: number;
  readonly completion: number;
  readonly estimated: number;
  readonly micros: number;
}

const sum = (records: readonly UsageRecord[]): Recorded => {
  const total = (pick: (record: UsageRecord) => bigint) => records.reduce((all, record) => all + Number(pick(record)), 0);
  return {
    requests: total((record) => record.requests),
    prompt: total((record) => record.promptTokens),
    completion: total((record) => record.completionTokens),
    estimated: total((record) => record.estimatedTokens),
    micros: total((record) => record.costMicros),
  };
};

/** A client of an orchestrator whose model calls cost money. */
export function spender(mesh: OrchestratorFixture) {
  const options = (signal?: AbortSignal) => ({ ...asUser, signal });
  const complete = (rest?: object, signal?: AbortSignal) => mesh.completions.complete({ body: bodyOf(rest) }, options(signal));
  async function stream(rest: object = {}, signal?: AbortSignal, onText: (text: string) => void = () => {}) {
    let text = "";
    const request = { body: bodyOf({ stream: true, ...rest }), format: StreamFormat.OPENAI };
    try {
      for await (const batch of mesh.completions.streamComplete(request, options(signal))) {
        text += Buffer.from(batch.frames).toString("utf8");
        onText(text);
      }
      return { text, reason: undefined };
    } catch (error) {
      return { text, reason: reasonOf(error) };
    }
  }
  return {
    complete,
    stream,
    reason: (call: Promise<unknown>) => call.then(() => undefined, reasonOf),
    /** Resolves with the total once it covers this many requests and every reservation is settled. */
    async recorded(requests: number): Promise<Recorded> {
      await expect.poll(() => sum(mesh.purse.usage).requests, { timeout: 5_000 }).toBe(requests);
      await expect.poll(() => mesh.purse.open.size, { timeout: 5_000 }).toBe(0);
      return sum(mesh.purse.usage);
    },
  };
}

/** A streamed chunk whose only choice has this delta. */
export const chunkOf = (delta: object, rest: object = {}) =>
  `data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0, delta, finish_reason: null, ...rest }] })}\n\n`;
