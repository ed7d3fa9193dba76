import type { ClientChunk } from "../src/model/edge/client-chunk.ts";

/** The data of every frame of server-sent events, as text. */
export function eventData(bytes: Uint8Array | string): string[] {
  return (typeof bytes === "string" ? bytes : Buffer.from(bytes).toString("utf8"))
    .split("\n\n")
    .filter((frame) => frame !== "")
    .map((frame) => frame.replace(/^data: ?/, ""));
}

/** A frame as a client reads it. */
export type ClientFrame = ClientChunk & { type?: string; tool_call?: { function: { name: string; arguments: string } } } & {
  delta?: string;
};

/** Every frame as JSON; `[DONE]` is left out. */
export function eventJson(bytes: Uint8Array | string): ClientFrame[] {
  return eventData(bytes)
    .filter((data) => data !== "[DONE]")
    .map((data) => JSON.parse(data) as ClientFrame);
}

/** Cuts bytes at the given places (any numbers, taken modulo the length). */
export function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const at = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  return [0, ...at].map((from, index) => bytes.subarray(from, at[index] ?? bytes.length));
}
