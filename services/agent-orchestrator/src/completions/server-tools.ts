import { ServerTools } from "@turnwright/contract/agent/v1/completion_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { CompletionBody } from "./body.ts";

function isFilled(list: unknown): boolean {
  return Array.isArray(list) && list.length > 0;
}

function isSet(value: unknown): boolean {
  return value !== undefined && value !== null;
}

/** Whether a request brings tools of its own, which the client runs. */
export function hasClientTools({ tools, functions }: CompletionBody): boolean {
  return isFilled(tools) || isFilled(functions);
}

/** Fields of vLLM, SGLang and llama.cpp that bind the whole answer to a schema or a grammar. */
const shapingField = /^(?:guided_(?!decoding_backend$)\w+|structured_outputs|grammar|json_schema|regex|ebnf)$/;

/** Whether the answer must have a form that a tool call has not. */
function isShaped(body: CompletionBody): boolean {
  const format = body.response_format;
  if (isSet(format) && (format as { type?: unknown }).type !== "text") return true;
  return Object.keys(body).some((field) => shapingField.test(field) && isSet(body[field]));
}

/**
 * Whether a request leaves room for tools that it does not mention. Endpoints refuse tools beside an answer of fixed
 * form, predicted output and a search of their own, and a call of a tool is one answer, not several.
 */
function hasRoom(body: CompletionBody): boolean {
  const others = [body.tools, body.functions, body.prediction, body.web_search_options];
  return !others.some(isSet) && !isShaped(body) && (body.n ?? 1) === 1;
}

/** The choice in the body; UNSPECIFIED when there is none. */
function choiceIn({ server_tools: given }: CompletionBody): ServerTools {
  if (!isSet(given)) return ServerTools.UNSPECIFIED;
  return given === true || given === "on" ? ServerTools.ON : ServerTools.OFF;
}

/** `offered`: if the model takes tools. `demanded`: by the client, so that an endpoint's refusal is for the client. */
export type ServerToolsOffer = "none" | "offered" | "demanded";

/**
 * Whether the model is offered the server's tools. `asked` is the request's choice beside its body and takes precedence
 * over the body's. Nothing is offered where nothing may be called (`tool_choice` none). Throws INVALID_REQUEST when the
 * server's tools are asked for beside the client's own.
 */
export function serverToolsFor(asked: ServerTools, body: CompletionBody): ServerToolsOffer {
  const choice = asked === ServerTools.UNSPECIFIED ? choiceIn(body) : asked;
  if (choice === ServerTools.OFF) return "none";
  if (choice === ServerTools.ON && hasClientTools(body)) {
    throw fail(
      ErrorReason.INVALID_REQUEST,
      "server_tools: the server's tools are not offered beside the client's own; send X-Server-Tools: off or no tools",
      { param: "server_tools" },
    );
  }
  if (body.tool_choice === "none" || body.function_call === "none") return "none";
  if (choice === ServerTools.ON) return "demanded";
  if (!hasRoom(body)) return "none";
  return isSet(body.tool_choice) && body.tool_choice !== "auto" ? "demanded" : "offered";
}
