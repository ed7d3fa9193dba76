import type { MessageInitShape } from "@bufbuild/protobuf";
import { type StreamCompleteResponseSchema, StreamFormat } from "@turnwright/contract/agent/v1/completion_service";
import type { ExecutionResult } from "@turnwright/contract/tool/v1/execution_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { distinctCalls } from "../model/edge/call-ids.ts";
import { addUsage, type ModelToolCall, type ModelUsage, noUsage, usageMessage } from "../model/edge/chunk.ts";
import { type OpenAiMessage, withoutCalls } from "../model/edge/completion.ts";
import type { OutputCount } from "../model/edge/output-count.ts";
import { StreamTap } from "../model/edge/stream-tap.ts";
import type { EndedCall } from "../model-calls/model-calls.ts";
import { isRefusedForGood } from "../outage.ts";
import { type Charge, noCharge } from "../spending/charge.ts";
import { type StorableCalls, storableCalls } from "../tool-access/storable-calls.ts";
import { blamesTools } from "../tool-access/tool-refusals.ts";
import { refusedResult, resultTexts } from "../tool-access/tool-results.ts";
import type { CompletionBody } from "./body.ts";
import {
  type CompletionCall,
  type CompletionDeps,
  type CompletionRequest,
  openCompletion,
  type PendingCompletion,
} from "./open-completion.ts";
import { modelCallOf, nextRequest, type RoundAnswer } from "./round-requests.ts";

/** Ids of the calls in a request's messages, which are the client's and of any form. */
function idsIn(messages: readonly OpenAiMessage[]): string[] {
  return messages.flatMap((message) => {
    const calls: unknown = message?.tool_calls;
    return Array.isArray(calls) ? calls.flatMap((call) => (typeof call?.id === "string" ? [call.id] : [])) : [];
  });
}

/**
 * The calls of a round, with ids that occur neither in the client's messages nor in an earlier round of this
 * completion.
 */
function callsOf(pending: PendingCompletion, calls: readonly ModelToolCall[]): StorableCalls {
  const { messages } = JSON.parse(Buffer.from(pending.request).toString("utf8")) as { messages: OpenAiMessage[] };
  return storableCalls(distinctCalls(calls, idsIn(messages)));
}

/**
 * Has the executor run a call. Each is a request of its own, because the results of a round may be larger together than
 * a message of the mesh.
 */
async function execute(
  { executions }: CompletionDeps,
  { options }: CompletionCall,
  { id, function: { name, arguments: args } }: ModelToolCall,
): Promise<ExecutionResult> {
  try {
    const { results } = await executions.executeCalls({ calls: [{ callId: id, name, arguments: args }] }, options);
    if (results[0] !== undefined) return results[0];
  } catch (error) {
    if (!isRefusedForGood(error)) throw error;
    return refusedResult(id, error);
  }
  throw fail(ErrorReason.INTERNAL, "the executor left a call without a result");
}

/** Executes the calls of a round that may run and builds the request of the next one. */
async function runTools(
  deps: CompletionDeps,
  call: CompletionCall,
  pending: PendingCompletion,
  answer: RoundAnswer,
  refusals: StorableCalls["refusals"],
): Promise<void> {
  const sound = answer.calls.filter(({ id }) => !refusals.has(id));
  const results = await Promise.all(sound.map((one) => execute(deps, call, one)));
  const texts = new Map(refusals);
  for (const [index, text] of resultTexts(results).entries()) texts.set(sound[index]?.id ?? "", text);
  const answers = answer.calls.map(({ id }) => ({ role: "tool", tool_call_id: id, content: texts.get(id) ?? "" }));
  nextRequest(pending, answer, (message) => [message, ...answers]);
}

/** The usage of a call: the endpoint's own or, when it leaves a count out, what the call was charged for. */
function usageOf(told: ModelUsage | undefined, charge: Charge): ModelUsage & { estimated_tokens?: number } {
  const isTold = (count: keyof ModelUsage & keyof Charge) => told !== undefined && (told[count] > 0 || charge[count] === 0);
  if (told !== undefined && isTold("prompt_tokens") && isTold("completion_tokens")) return told;
  const { prompt_tokens, completion_tokens, total_tokens, estimated_tokens } = charge;
  return { prompt_tokens, completion_tokens, total_tokens, ...(estimated_tokens === 0 ? {} : { estimated_tokens }) };
}

/**
 * Takes tools that the client did not ask for out of a request that the endpoint refused because of its tools; false
 * when the refusal is for the client.
 */
function dropTools(pending: PendingCompletion, refusal: unknown): boolean {
  if (pending.plainRequest === undefined || !blamesTools(refusal)) return false;
  pending.request = pending.plainRequest();
  pending.plainRequest = undefined;
  pending.serverTools = false;
  return true;
}

function iterationLimit(limit: number) {
  return fail(ErrorReason.ITERATION_LIMIT, `The model called tools ${limit} times without an answer.`);
}

/** Completes a chat. The model's own bytes are passed on where possible; the usage covers all model calls. */
export async function complete(
  deps: CompletionDeps,
  call: CompletionCall,
  request: CompletionRequest,
): Promise<{ body: Uint8Array; usage: ModelUsage; model: string }> {
  const pending = await openCompletion(deps, call, request, false);
  let usage = noUsage;
  let charge = noCharge;
  const onEnd = (ended: EndedCall) => {
    ({ charge } = ended);
  };
  const ask = () => deps.modelCalls.complete(modelCallOf(call, pending), onEnd);
  for (let iteration = 0; iteration < deps.maxIterations; iteration++) {
    const completion = await ask().catch(async (refusal: unknown) => {
      if (iteration > 0 || !dropTools(pending, refusal)) throw refusal;
      const plain = await ask();
      deps.toolRefusals.add(pending.model);
      return plain;
    });
    usage = addUsage(usage, usageOf(completion.isUsageTold ? completion.usage : undefined, charge));
    const model = completion.model || pending.model;
    if (!pending.serverTools || (iteration === 0 && !completion.hasCalls)) return { body: completion.bytes, usage, model };
    if (completion.calls.length === 0) {
      return { body: Buffer.from(JSON.stringify({ ...withoutCalls(completion), usage })), usage, model };
    }
    const { calls, refusals } = callsOf(pending, completion.calls);
    await runTools(deps, call, pending, { ...completion, calls }, refusals);
  }
  throw iterationLimit(deps.maxIterations);
}

/** The largest batch in bytes: flow control towards the client counts batches. */
const maxBatchBytes = 8_192;

/** Splits bytes into batches; usually there is one. */
function* batches(frames: Buffer): Generator<{ frames: Buffer }> {
  for (let from = 0; from < frames.length; from += maxBatchBytes) yield { frames: frames.subarray(from, from + maxBatchBytes) };
}

/** Completes a chat as batches of server-sent events; the last batch has the usage. */
export async function* streamComplete(
  deps: CompletionDeps,
  call: CompletionCall,
  request: CompletionRequest,
  format: StreamFormat,
): AsyncGenerator<MessageInitShape<typeof StreamCompleteResponseSchema>> {
  const pending = await openCompletion(deps, call, request, true);
  let usage = noUsage;
  let charge = noCharge;
  const onEnd = (ended: EndedCall) => {
    ({ charge } = ended);
  };
  let id: string | undefined;
  let hasRole = false;
  let hasDropped = false;
  for (let iteration = 0; iteration < deps.maxIterations; iteration++) {
    const options = { format, passToolCalls: !pending.serverTools, id, hasRole };
    let tap = new StreamTap(options);
    const makeSink = (output: OutputCount) => {
      tap = new StreamTap({ ...options, output });
      return tap;
    };
    const modelCall = modelCallOf(call, pending);
    let hasBegun = iteration > 0;
    try {
      for await (const frames of deps.modelCalls.stream(modelCall, makeSink, onEnd)) {
        hasBegun = true;
        yield* batches(frames);
      }
    } catch (refusal) {
      if (hasBegun || !dropTools(pending, refusal)) throw refusal;
      hasDropped = true;
      iteration -= 1;
      continue;
    }
    if (hasDropped) deps.toolRefusals.add(pending.model);
    usage = addUsage(usage, usageOf(tap.usage, charge));
    id ??= tap.envelope.id ?? "";
    ({ hasRole } = tap);
    if (!tap.wantsServerTools) {
      yield { frames: closing(format, pending.body, tap, usage), usage: usageMessage(usage) };
      return;
    }
    const { calls, refusals } = callsOf(pending, tap.toolCalls);
    const announced = tap.announce(calls);
    if (announced.length > 0) yield { frames: announced };
    await runTools(deps, call, pending, { content: tap.text, calls, extraFields: tap.extraFields }, refusals);
  }
  throw iterationLimit(deps.maxIterations);
}

/** The end of a stream: the seed's finish frame, the usage if the client asked for it, and the terminator. */
function closing(format: StreamFormat, body: CompletionBody, tap: StreamTap, usage: ModelUsage): Buffer {
  let text = "";
  if (format === StreamFormat.SEED) text = `data: ${JSON.stringify({ type: "finish", delta: tap.finishReason, usage })}\n\n`;
  else if (body.stream_options?.include_usage) {
    const chunk = { ...tap.envelope, object: "chat.completion.chunk", choices: [], usage };
    text = `data: ${JSON.stringify(chunk)}\n\n`;
  }
  return Buffer.from(`${text}data: [DONE]\n\n`);
}
