import type { CompletionBody } from "./body.ts";
import type { ExactJson } from "./exact-json.ts";

/** A client's body: as it came, as it was read, and as it was checked. */
export interface ClientBody {
  readonly bytes: Uint8Array;
  readonly json: ExactJson;
  readonly body: CompletionBody;
}

/** The changes to a client's body on its way to the model. */
export interface BodyChanges {
  /** The model, when the client named none. */
  readonly model?: string;
  /** JSON text of the server's tools; undefined when none are offered. */
  readonly toolsJson?: string;
  /** There are no tools at all: fields that make sense only with tools are left out, because endpoints refuse them. */
  readonly withoutTools: boolean;
  /** The answer is streamed and its usage is asked for; otherwise it is one body. */
  readonly streamed: boolean;
  /** Write the whole body again, so that a repeated field cannot mean one thing here and another to the model. */
  readonly rewrite: boolean;
}

const closingBrace = 0x7d;

/** Whether a choice of tools demands one. Without tools such a choice stays, so that the endpoint refuses it. */
function demandsTool(choice: unknown): boolean {
  return choice !== "none" && choice !== "auto" && choice !== null;
}

/** Fields that are not for the endpoint, and those without a meaning beside the tools that it gets. */
function idleFields(body: CompletionBody, { withoutTools, toolsJson }: BodyChanges): string[] {
  const idle = ["server_tools"];
  if (withoutTools || toolsJson !== undefined) {
    idle.push("functions");
    if (!demandsTool(body.function_call)) idle.push("function_call");
  }
  if (withoutTools) {
    idle.push("tools", "parallel_tool_calls");
    if (!demandsTool(body.tool_choice)) idle.push("tool_choice");
  }
  return idle.filter((field) => field in body);
}

/**
 * The body for the model: the client's own bytes with fields spliced in before the last brace, or written again where
 * necessary.
 */
export function upstreamBody({ bytes, json, body }: ClientBody, changes: BodyChanges): Uint8Array {
  const { model, toolsJson, streamed } = changes;
  const left = idleFields(body, changes);
  const collides =
    left.length > 0 ||
    (body.stream === true) !== streamed ||
    (model !== undefined && "model" in body) ||
    (toolsJson !== undefined && "tools" in body) ||
    (streamed && "stream_options" in body);
  if (changes.rewrite || collides) {
    const kept: Record<string, unknown> = { ...(json.value as object) };
    for (const field of left) delete kept[field];
    if (model !== undefined) kept.model = model;
    if (toolsJson !== undefined) kept.tools = JSON.parse(toolsJson);
    if (streamed) {
      kept.stream = true;
      kept.stream_options = { ...body.stream_options, include_usage: true };
    } else if (body.stream) {
      delete kept.stream;
      delete kept.stream_options;
    }
    return Buffer.from(json.write(kept));
  }
  let fragment = "";
  if (model !== undefined) fragment += `,"model":${JSON.stringify(model)}`;
  if (toolsJson !== undefined) fragment += `,"tools":${toolsJson}`;
  if (streamed) fragment += ',"stream_options":{"include_usage":true}';
  if (fragment === "") return bytes;
  const end = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).lastIndexOf(closingBrace);
  return Buffer.concat([bytes.subarray(0, end), Buffer.from(`${fragment}}`)]);
}
