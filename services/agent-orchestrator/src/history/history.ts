import type { Message } from "@turnwright/contract/conversation/v1/conversation";
import { ErrorReason, fail, reasonOf } from "@turnwright/platform/errors";
import { contextWindowOf } from "../model/endpoint/model-error.ts";
import type { Charge } from "../spending/charge.ts";
import { type Endpoint, EndpointKnowledge } from "./endpoint-knowledge.ts";
import { type Exchange, exchangesOf } from "./exchanges.ts";
import { fit } from "./fit.ts";
import { gaveReasoning, type ModelMessage, modelMessages } from "./message-form.ts";
import { familyOf } from "./provider-fields.ts";

/** Share of a window that is kept for the answer without a limit of the agent's, and the most tokens of it. */
const answerShare = 1 / 4;
const answerTokens = 4_096;
/** The largest share of a window that an agent's limit of the answer may take. */
const largestAnswerShare = 1 / 2;
/** Step in which bytes for a token change the size of a history. */
const ratioStep = 1 / 8;
/** Bytes of messages that are sent however small the window seems. */
const leastRoom = 1_024;
/** No text has more bytes for a token than this: what is larger does not fit for certain. */
const mostBytesPerToken = 16;

/** The facts of a run that its next model call depends on. */
export interface HistoryFacts extends Endpoint {
  readonly conversationId: string;
  /** The provider's name of the model; undefined: the same. */
  readonly upstream: string | undefined;
  /** The agent's prompt. */
  readonly system: string;
  /** The run's context, oldest message first. */
  readonly messages: readonly Message[];
  /** The tools as JSON text; undefined: none. */
  readonly toolsJson: string | undefined;
  /** The agent's limit of the answer, in tokens. */
  readonly maxTokens: number | undefined;
  /** Whether the model takes images, as the operator states; undefined: nothing is stated. */
  readonly takesImages?: boolean;
  /** Tokens of the endpoint's window, where the configuration states them. */
  readonly window: number | undefined;
}

/** The history of one model call. */
export interface SentHistory extends Endpoint {
  readonly conversationId: string;
  /** Family of the model. */
  readonly family: string;
  readonly messages: readonly ModelMessage[];
  /** The limit of the answer; undefined: none is sent. */
  readonly maxTokens: number | undefined;
  /** Its size in bytes, tools included, and in tokens by estimate. */
  readonly bytes: number;
  readonly tokens: number;
}

/** Makes the history of model calls, and learns from how they end. */
export interface History {
  /**
   * The history for an endpoint: as much as its window takes. `most`: in no more bytes than this. Throws
   * CONTEXT_TOO_LONG when the newest message alone does not fit for certain.
   */
  make(facts: HistoryFacts, most?: number): SentHistory;
  /** Takes the counts of a call that was answered. */
  answered(sent: SentHistory, charge: Charge): void;
  /**
   * How a refused call may be repeated: in at most so many bytes when it was too long, else in the form that `make`
   * gives from now on. Undefined: it may not, for this error.
   */
  retryOf(sent: SentHistory, error: unknown): { readonly most?: number } | undefined;
}

/** The note for the model on messages that it does not get. */
function leftOutNote(count: number): string {
  const messages = count === 1 ? "1 earlier message" : `${count} earlier messages`;
  return `\n\n[${messages} of this conversation left out here: they do not fit in the context.]`;
}

/** The messages that the model does not get: those before the oldest that it gets, and those missing in between. */
function countLeftOut(messages: readonly Message[], exchanges: readonly Exchange[]): number {
  const kept = exchanges.flatMap(({ said, rounds }) => [said, ...rounds.flatMap(({ answer, results }) => [answer, ...results])]);
  const sent = kept.filter((message) => message !== undefined);
  const first = Math.max(
    0,
    messages.findIndex(({ id }) => id === sent[0]?.id),
  );
  // The context need not reach back to the first message.
  const before = Math.max(first, (sent[0]?.sequenceNumber ?? 1) - 1);
  return before + Math.max(0, messages.length - first - sent.length);
}

/** Makes a history. `defaultWindow`: tokens of a window that is neither configured nor learned. */
export function createHistory(options: { readonly defaultWindow: number; readonly now?: () => number }): History {
  const knowledge = new EndpointKnowledge(options.now);
  return {
    make(facts, most = Number.POSITIVE_INFINITY) {
      const { provider, model, conversationId, system, messages } = facts;
      const endpoint = { provider, model };
      const learned = knowledge.window(endpoint);
      const window = learned?.tokens ?? facts.window ?? options.defaultWindow;
      const bytesPerToken = knowledge.bytesPerToken(endpoint, conversationId);
      const limit = facts.maxTokens ?? Math.min(answerTokens, Math.floor(window * answerShare));
      const reserved = Math.min(limit, Math.floor(window * largestAnswerShare));
      const fixed = Buffer.byteLength(system) + Buffer.byteLength(facts.toolsJson ?? "");
      // Rounded down, so that the cut does not move with each count.
      const steadyRatio = Math.floor(bytesPerToken / ratioStep) * ratioStep;
      const room = Math.min(most, Math.floor((window - reserved) * steadyRatio)) - fixed;
      const fitted = fit(exchangesOf(messages), Math.max(leastRoom, room));
      const bytes = fixed + fitted.bytes;
      const isCertain = learned === undefined ? facts.window !== undefined : learned.isTold;
      if (isCertain && bytes > window * mostBytesPerToken) throw tooLong(window);
      const leftOut = countLeftOut(messages, fitted.exchanges);
      const family = familyOf(facts.upstream ?? model);
      if (messages.some((message) => gaveReasoning(message, { provider, family }))) knowledge.gaveReasoning(endpoint);
      const demands = knowledge.demands(endpoint);
      // The operator's word counts more than a refusal.
      const noImages = facts.takesImages === undefined ? demands.noImages : !facts.takesImages;
      const receiver = { provider, family, demands: { ...demands, noImages } };
      const prompt = leftOut === 0 ? system : system + leftOutNote(leftOut);
      return {
        provider,
        model,
        conversationId,
        family,
        messages: modelMessages(prompt, fitted.exchanges, receiver),
        maxTokens: facts.maxTokens === undefined ? undefined : reserved,
        bytes,
        tokens: Math.ceil(bytes / bytesPerToken),
      };
    },
    answered(sent, charge) {
      if (charge.requests !== 1 || charge.estimated_tokens !== 0) return;
      knowledge.counted(sent, sent.conversationId, { bytes: sent.bytes, tokens: charge.prompt_tokens });
    },
    retryOf(sent, error) {
      if (reasonOf(error) === ErrorReason.CONTEXT_TOO_LONG) {
        knowledge.overflowed(sent, sent.conversationId, sent.tokens, contextWindowOf(error));
        return { most: Math.floor(sent.bytes / 2) };
      }
      return knowledge.refused(sent, error) ? {} : undefined;
    },
  };
}

function tooLong(window: number) {
  const text = `The message does not fit in the model's context of ${window} tokens. Send a shorter one.`;
  return fail(ErrorReason.CONTEXT_TOO_LONG, text, { param: "messages" });
}
