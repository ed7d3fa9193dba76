import type { CompletionBody } from "./body.ts";

/** What is changed in a client's body on its way to the model. */
export interface BodyChanges {
  /** The model to ask, where the client named none. */
  readonly model?: string;
  /** `,"tools":[…]`-ready JSON text of the server's tools; undefined when none are offered. */
  readonly toolsJson?: string;
  /** Ask for the usage of a stream. */
  readonly includeUsage: boolean;
  /** Write the body anew, so that a field that stands twice cannot mean one thing to us and another to the model. */
  readonly rewrite: boolean;
}

const closingBrace = 0x7d;

/** The body for the model: the client's own bytes with fields spliced in before the last brace, or written anew where it must be. */
export function upstreamBody(bytes: Uint8Array, body: CompletionBody, changes: BodyChanges): Uint8Array {
  const { model, toolsJson, includeUsage } = changes;
  const streamOptions = includeUsage ? { ...body.stream_options, include_usage: true } : undefined;
  const collides =
    (model !== undefined && "model" in body) ||
    (toolsJson !== undefined && "tools" in body) ||
    (includeUsage && "stream_options" in body);
  if (changes.rewrite || collides) {
    return Buffer.from(
      JSON.stringify({
        ...body,
        ...(model === undefined ? {} : { model }),
        ...(toolsJson === undefined ? {} : { tools: JSON.parse(toolsJson) }),
        ...(streamOptions === undefined ? {} : { stream_options: streamOptions }),
      }),
    );
  }
  let fragment = "";
  if (model !== undefined) fragment += `,"model":${JSON.stringify(model)}`;
  if (toolsJson !== undefined) fragment += `,"tools":${toolsJson}`;
  if (includeUsage) fragment += ',"stream_options":{"include_usage":true}';
  if (fragment === "") return bytes;
  const end = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).lastIndexOf(closingBrace);
  return Buffer.concat([bytes.subarray(0, end), Buffer.from(`${fragment}}`)]);
}
