import { plainToolName } from "../history/message-form.ts";
import { familyOf, type Giver, isFrom } from "../history/provider-fields.ts";
import type { ModelToolCall } from "../model/edge/chunk.ts";
import type { CallTarget, ModelCall } from "../model-calls/model-calls.ts";
import { textOf } from "./body.ts";
import { readExactly } from "./exact-json.ts";
import type { CompletionCall, PendingCompletion } from "./open-completion.ts";

/** The answer of a round: its text, its calls, and what the endpoint wants back with them. */
export interface RoundAnswer {
  readonly content: string;
  readonly calls: readonly ModelToolCall[];
  readonly extraFields: {
    readonly message: Readonly<Record<string, unknown>>;
    readonly calls: readonly (Readonly<Record<string, unknown>> | undefined)[];
  };
}

const noFields = { message: {}, calls: [] };

/** The answer as a message of the next request. */
function assistantMessage({ content, calls, extraFields }: RoundAnswer): object {
  return {
    ...extraFields.message,
    role: "assistant",
    content: content === "" ? null : content,
    tool_calls: calls.map(({ id, type, function: { name, arguments: args } }, at) => {
      return { ...extraFields.calls[at], id, type, function: { name: plainToolName(name), arguments: args } };
    }),
  };
}

/** A request with further messages. */
function withMessages(request: Uint8Array, messages: readonly unknown[]): Uint8Array {
  const { value, write } = readExactly(textOf(request));
  const previous = value as { messages: unknown[]; tool_choice?: unknown };
  previous.messages.push(...messages);
  // A forced choice has been obeyed; if kept, it would never let the model answer.
  if (previous.tool_choice !== undefined && previous.tool_choice !== "auto") delete previous.tool_choice;
  return Buffer.from(write(previous));
}

/**
 * Makes the request of the next round, and another one without the endpoint's own fields, which go back to the endpoint
 * that gave them and to no other.
 */
export function nextRequest(
  pending: PendingCompletion,
  answer: RoundAnswer,
  messagesWith: (assistant: object) => object[],
): void {
  const { message, calls } = answer.extraFields;
  const hasFields = Object.keys(message).length > 0 || calls.some((fields) => fields !== undefined);
  const bare = pending.bareRequest ?? pending.request;
  const latest = requestFor(pending, pending.receiver);
  if (hasFields || latest !== bare) {
    pending.bareRequest = withMessages(bare, messagesWith(assistantMessage({ ...answer, extraFields: noFields })));
    pending.giver = pending.receiver;
  } else pending.bareRequest = undefined;
  pending.request = withMessages(latest, messagesWith(assistantMessage(answer)));
}

/** The request for an endpoint; undefined: the only one. */
function requestFor({ request, bareRequest, giver }: PendingCompletion, receiver: Giver | undefined): Uint8Array {
  return bareRequest === undefined || receiver === undefined || isFrom(giver, receiver) ? request : bareRequest;
}

/** The next model call. */
export function modelCallOf(call: CompletionCall, pending: PendingCompletion): ModelCall {
  const { model, request: body } = pending;
  const bodyFor = ({ provider, upstream }: CallTarget) => {
    pending.receiver = { provider, family: familyOf(upstream ?? model) };
    return requestFor(pending, pending.receiver);
  };
  return { ...call, model, body, bodyFor };
}
