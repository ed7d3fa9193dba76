import { ServerTools, StreamFormat } from "@turnwright/contract/agent/v1/completion_service";
import { ErrorReason } from "@turnwright/platform/errors";
import { expect } from "vitest";
import { asUser } from "./orchestrator.ts";
import { failureOf, mesh } from "./runs.ts";
import { type ClientFrame, eventData, eventJson } from "./stream.ts";

export const user = { role: "user", content: "hi" };
export const bytesOf = (body: object | string) =>
  Buffer.from(typeof body === "string" ? body : JSON.stringify({ messages: [user], ...body }));

export async function complete(body: object | string, serverTools: ServerTools = ServerTools.UNSPECIFIED) {
  const answer = await mesh.completions.complete({ body: bytesOf(body), serverTools }, asUser);
  return { ...answer, json: JSON.parse(Buffer.from(answer.body).toString()) };
}

export async function stream(
  body: object | string,
  format: StreamFormat = StreamFormat.UNSPECIFIED,
  serverTools: ServerTools = ServerTools.UNSPECIFIED,
) {
  const batches: Buffer[] = [];
  let usage: unknown;
  for await (const batch of mesh.completions.streamComplete({ body: bytesOf(body), format, serverTools }, asUser)) {
    batches.push(Buffer.from(batch.frames));
    usage = batch.usage;
  }
  const text = Buffer.concat(batches).toString();
  return { text, data: eventData(text), frames: eventJson(text), usage };
}

export const sent = (index: number) =>
  mesh.model.requests[index]?.body as { tools?: { function: { name: string } }[]; messages: unknown[]; [field: string]: unknown };
export const toolNames = (index: number) => sent(index).tools?.map((tool) => tool.function.name);
export const textIn = (frames: readonly ClientFrame[]) =>
  frames.map(({ choices }) => choices?.[0]?.delta?.content ?? "").join("");

export const clientTool = { type: "function", function: { name: "mine", parameters: { type: "object" } } };

/** Expects a request to be refused with INVALID_REQUEST on this field, streamed or not, and no call of the model. */
export async function expectRefused(body: object | string, param: string): Promise<void> {
  const expected = { reason: ErrorReason.INVALID_REQUEST, param };
  expect(await failureOf(complete(body))).toMatchObject(expected);
  expect(await failureOf(stream(body))).toMatchObject(expected);
  expect(mesh.model.requests).toHaveLength(0);
}
