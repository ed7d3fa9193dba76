import { isTooDeep, maxJsonDepth } from "@turnwright/platform/json/json-depth";
import type { ModelToolCall } from "../model/edge/chunk.ts";
import { errorText } from "./tool-results.ts";

/** The name under which a call is stored and sent back when its own name cannot be. */
export const invalidCallName = "invalid_tool_call";
/** Limits of the contract (`turnwright.tool.v1.FunctionCall`), in characters. */
const [maxName, maxArguments] = [100, 262_144];
/** The most calls in one answer: those that the executor takes in one round. */
const maxCalls = 128;
/** The most bytes of the arguments of one answer's calls together. */
export const maxRoundArguments = 1_048_576;
/** How much of refused arguments the model reads again, in characters. */
const excerptLength = 200;

/** The calls of one answer of a model. */
export interface StorableCalls {
  /** In the model's order: what the journal stores and every endpoint takes back. */
  readonly calls: readonly ModelToolCall[];
  /** The result of each call that must not run, by call id: JSON text `{"error":…}` for the model. */
  readonly refusals: ReadonlyMap<string, string>;
}

function hasControl(text: string): boolean {
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code < 0x20 || code === 0x7f) return true;
  }
  return false;
}

function nameProblem(name: string): string | undefined {
  if (name.trim() === "") return "The call does not name a tool.";
  if (name.length > maxName) return `The name of the tool is longer than ${maxName} characters.`;
  if (!name.isWellFormed() || hasControl(name)) return "The name of the tool has characters that no name may have.";
  return undefined;
}

function argumentsProblem(json: string): string | undefined {
  if (json.length > maxArguments) return `The arguments are longer than ${maxArguments} characters.`;
  if (isTooDeep(json)) return `The arguments are nested deeper than ${maxJsonDepth} levels.`;
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return "The arguments are not valid JSON.";
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return "The arguments are not a JSON object.";
  return json.isWellFormed() ? undefined : "The arguments have half a surrogate pair.";
}

/** The beginning of refused arguments, so that the model sees what was not understood. */
function excerptOf(json: string): string {
  const start = json.slice(0, excerptLength).toWellFormed().replaceAll("\0", "\ufffd");
  return start === "" ? "" : ` They begin with: ${start}`;
}

/**
 * The calls of an answer in a form that can be stored and sent back to any endpoint. Calls with valid names and
 * arguments stay byte for byte as they are; missing arguments are `{}`. The parts of a call that cannot be kept are
 * replaced, and the call is refused with a text for the model, as a call of an unknown tool is. Of an answer with more
 * than 128 calls the first 128 are kept and none runs. The ids must be distinct.
 */
export function storableCalls(answered: readonly ModelToolCall[]): StorableCalls {
  const refusals = new Map<string, string>();
  const excess =
    answered.length > maxCalls
      ? `The answer has ${answered.length} calls; at most ${maxCalls} are allowed, and none of them was run.`
      : undefined;
  let left = maxRoundArguments;
  const calls = answered.slice(0, maxCalls).map(({ problem, ...call }): ModelToolCall => {
    const { name } = call.function;
    const json = call.function.arguments.trim() === "" ? "{}" : call.function.arguments;
    const badName = nameProblem(name);
    const badArguments =
      argumentsProblem(json) ??
      (Buffer.byteLength(json) > left
        ? `The arguments of all calls together are larger than ${maxRoundArguments} bytes.`
        : undefined);
    const refusal = excess ?? problem ?? badName ?? badArguments;
    if (refusal !== undefined) {
      const excerpt = badArguments === undefined ? "" : excerptOf(json);
      refusals.set(call.id, errorText(`${refusal}${excerpt}`));
    }
    const args = badArguments === undefined ? json : "{}";
    left -= Buffer.byteLength(args);
    const stored = { name: badName === undefined ? name : invalidCallName, arguments: args };
    return { ...call, type: "function", function: { ...call.function, ...stored } };
  });
  return { calls, refusals };
}
