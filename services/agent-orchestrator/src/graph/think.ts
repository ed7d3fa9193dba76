import { create } from "@bufbuild/protobuf";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import { MessageSchema } from "@turnwright/contract/conversation/v1/conversation";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { allows } from "@turnwright/platform/identity/identity";
import { uuidv7 } from "@turnwright/platform/uuid";
import type { SentHistory } from "../history/history.ts";
import { asksWithImage, blamesImages, imagesRefused } from "../history/image-refusals.ts";
import { familyOf, type Giver, storedFields } from "../history/provider-fields.ts";
import { AnswerReader, type ModelAnswer } from "../model/edge/answer-reader.ts";
import { distinctCalls } from "../model/edge/call-ids.ts";
import { addUsage } from "../model/edge/chunk.ts";
import type { OutputCount } from "../model/edge/output-count.ts";
import type { CallTarget, EndedCall } from "../model-calls/model-calls.ts";
import { OrderedStream } from "../run-events/stream-order.ts";
import { type Charge, noCharge } from "../spending/charge.ts";
import { storableCalls } from "../tool-access/storable-calls.ts";
import { blamesTools } from "../tool-access/tool-refusals.ts";
import { tellCalls } from "./act.ts";
import type { DrivenRun, GraphDeps, Step } from "./driven-run.ts";
import { tryCall } from "./trial.ts";

/**
 * Ids of all earlier calls in the context, not of this run alone, because the model reads the context as a whole.
 * Undefined when the context begins after the user's message, as in a run that another worker took over: earlier calls
 * of the run are then missing from it.
 */
function takenIds({ messages }: DrivenRun): string[] | undefined {
  if (messages.every(({ role }) => role !== "user")) return undefined;
  return messages.flatMap((message) => message.toolCalls.map((call) => call.id));
}

/**
 * The most bytes of an answer's content and reasoning together, as JSON: a response has the answer twice, and a commit
 * has it beside the results of the round before.
 */
export const maxStoredText = 2 * 1024 * 1024;

/** The requests of one model call: one for each endpoint that it may be sent to. */
interface Requests {
  /** The request for an endpoint, as JSON text in UTF-8. */
  bodyFor(target: CallTarget): Buffer;
  /** The history in the request that was asked for last. */
  sent: SentHistory;
  /** Whether watchers have got a part of the answer. */
  isShown: boolean;
}

function requestBody({ agent, state }: DrivenRun, { messages, maxTokens }: SentHistory, toolsJson: string | undefined): Buffer {
  const body = JSON.stringify({
    model: state.model,
    messages,
    // Undefined fields are not sent.
    temperature: agent.temperature,
    max_tokens: maxTokens,
    stream: true,
    stream_options: { include_usage: true },
  });
  return Buffer.from(toolsJson === undefined ? body : `${body.slice(0, -1)},"tools":${toolsJson}}`);
}

function requestsOf(deps: GraphDeps, run: DrivenRun, toolsJson: string | undefined, most?: number): Requests {
  const { agent, state } = run;
  const made = new Map<string, { readonly sent: SentHistory; readonly body: Buffer }>();
  const requestFor = (target: CallTarget) => {
    const { provider, upstream, window } = target;
    const key = JSON.stringify([provider, upstream, window]);
    const earlier = made.get(key);
    if (earlier !== undefined) return earlier;
    const { prompt: system, maxTokens } = agent;
    const { conversationId, messages } = run;
    const endpoint = { provider, upstream, window, model: state.model };
    const takesImages = deps.takesImages(state.model);
    const facts = { ...endpoint, conversationId, system, messages, toolsJson, maxTokens, takesImages };
    const sent = deps.history.make(facts, most);
    const request = { sent, body: requestBody(run, sent, toolsJson) };
    made.set(key, request);
    return request;
  };
  const requests: Requests = {
    bodyFor(target) {
      const { sent, body } = requestFor(target);
      requests.sent = sent;
      return body;
    },
    sent: requestFor(deps.modelCalls.firstTarget(state.model)).sent,
    isShown: false,
  };
  return requests;
}

/** The answer to a model call. */
interface Answered {
  readonly answer: ModelAnswer;
  /** Its text as it was streamed. */
  readonly text: OrderedStream;
  readonly charge: Charge;
  /** The side that answered. */
  readonly giver: Giver;
}

async function ask(deps: GraphDeps, run: DrivenRun, { requests, body }: { requests: Requests; body: Buffer }): Promise<Answered> {
  let reader = new AnswerReader();
  let text = new OrderedStream(run.state.isKeyed === true);
  let ended: Pick<EndedCall, "charge" | "model"> & Partial<EndedCall> = { charge: noCharge, model: run.state.model };
  const call = {
    identity: run.identity,
    options: await run.options(),
    signal: run.signal,
    model: run.state.model,
    body,
    bodyFor: requests.bodyFor,
    run,
    onFailedAttempt: run.storeAttempt,
  };
  const makeSink = (output: OutputCount) => {
    reader = new AnswerReader(output, { maxTextBytes: maxStoredText });
    text = new OrderedStream(run.state.isKeyed === true);
    requests.isShown = false;
    return reader;
  };
  // A call that failed is charged to the run as well.
  const onEnd = (call: EndedCall) => {
    ended = call;
    run.costUsd += call.costUsd;
    if (call.charge.requests > 0) run.state = { ...run.state, priced: call.isPriced && run.state.priced !== false };
    run.usage = addUsage(run.usage, call.charge);
    run.totalUsage = addUsage(run.totalUsage, call.charge);
  };
  for await (const deltas of deps.modelCalls.stream(call, makeSink, onEnd)) {
    for (const delta of deltas) {
      const shown = text.take(delta);
      if (shown === undefined) continue;
      requests.isShown = true;
      run.log.emit(shown);
    }
  }
  const held = text.end();
  if (held !== undefined) run.log.emit(held);
  const { sent } = requests;
  const { charge, model, provider = sent.provider } = ended;
  deps.history.answered(sent, charge);
  const giver = { provider, family: provider === sent.provider ? sent.family : familyOf(model) };
  return { answer: reader.answer, text, charge, giver };
}

/** The most calls for one answer: the first, one with less history, and one that meets a demand just learned. */
const maxCalls = 3;

/**
 * Makes a model call. One that the endpoint refused because of its history is repeated: once with half of it when it
 * was too long, else in the form that the refusal asks for; one that it refused because of the tools, without them.
 * Throws the reasons of `ModelCalls`.
 */
async function answerOf(deps: GraphDeps, run: DrivenRun, offered: string | undefined): Promise<Answered> {
  const { model } = run.state;
  let toolsJson = deps.toolRefusals.has(model) ? undefined : offered;
  let hasDropped = false;
  let requests = requestsOf(deps, run, toolsJson);
  let most: number | undefined;
  for (let calls = 1; ; calls += 1) {
    try {
      const answered = await ask(deps, run, { requests, body: requests.bodyFor(deps.modelCalls.firstTarget(model)) });
      if (hasDropped) deps.toolRefusals.add(model);
      return answered;
    } catch (error) {
      if (run.signal.aborted || requests.isShown) throw error;
      if (asksWithImage(run.messages) && blamesImages(error)) throw imagesRefused(model, error);
      if (calls === maxCalls) throw error;
      if (toolsJson !== undefined && run.state.iteration === 0 && blamesTools(error)) {
        toolsJson = undefined;
        hasDropped = true;
        requests = requestsOf(deps, run, toolsJson, most);
        continue;
      }
      const { sent } = requests;
      const retry = deps.history.retryOf(sent, error);
      const isShorter = retry?.most !== undefined;
      if (retry === undefined || (isShorter && most !== undefined)) throw error;
      most ??= retry.most;
      requests = requestsOf(deps, run, toolsJson, most);
      // The rest of the history is the newest message alone.
      if (isShorter && requests.sent.bytes >= sent.bytes) throw error;
      const { bytes } = requests.sent;
      // The refusal itself was logged with the call that failed.
      deps.logger.info({ run_id: run.runId, bytes_before: sent.bytes, bytes }, "a refused history is sent in another form");
    }
  }
}

/**
 * Calls the model, except in a trial. Its answer ends the run; its tool calls are committed as intents before any of
 * them is executed.
 */
export async function think(deps: GraphDeps, run: DrivenRun): Promise<Step> {
  const { state } = run;
  if (state.trial !== undefined) return tryCall(run, state.trial);
  if (state.iteration >= deps.maxIterations) {
    throw fail(ErrorReason.ITERATION_LIMIT, `The model called tools ${deps.maxIterations} times without an answer.`);
  }
  // Checked here as well as at the start of the run: the agent may name a model of its own, and the key's policy may
  // have been narrowed while the run waited.
  if (!allows(run.identity.allowedModels, state.model)) {
    throw fail(ErrorReason.MODEL_NOT_ALLOWED, `This token may not use the model ${JSON.stringify(state.model)}.`, {
      param: "model",
    });
  }
  if (asksWithImage(run.messages) && deps.takesImages(state.model) === false) throw imagesRefused(state.model);
  const toolsJson = await deps.catalogue.definitionsJson(run.identity, { ...(await run.options()), unattended: false });
  const started = performance.now();
  const { answer, text, charge, giver } = await answerOf(deps, run, toolsJson);
  if (answer.lostFields)
    deps.logger.warn({ run_id: run.runId, model: state.model }, "the provider's own fields of an answer are too large to keep");
  const round = storableCalls(answer.toolCalls.length === 0 ? [] : distinctCalls(answer.toolCalls, takenIds(run)));

  const message = create(MessageSchema, {
    id: uuidv7(),
    createdAt: timestampNow(),
    conversationId: run.conversationId,
    role: "assistant",
    content: answer.content,
    toolCalls: [...round.calls],
    model: answer.model || state.model,
    promptTokens: charge.prompt_tokens,
    completionTokens: charge.completion_tokens,
    latencyMs: Math.round(performance.now() - started),
    finishReason: answer.finishReason,
    reasoning: text.reasoning,
    providerFields: storedFields(giver, answer.providerFields),
  });
  run.messages.push(message);
  run.uncommitted.push(message);
  const { streamed } = text;
  if (round.calls.length === 0) return { end: message, finishReason: answer.finishReason, streamed };
  tellCalls(run, round);
  return { next: "act", commit: "intent", streamed, patch: { messageId: message.id, iteration: state.iteration + 1 } };
}
