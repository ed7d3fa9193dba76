import { create } from "@bufbuild/protobuf";
import { IdentitySchema } from "@turnwright/contract/auth/v1/identity";
import { expect, test } from "vitest";
import type { PendingCompletion } from "./open-completion.ts";
import { modelCallOf, nextRequest } from "./round-requests.ts";

const caller = { identity: create(IdentitySchema), options: {}, signal: new AbortController().signal };
const call = { id: "a", type: "function" as const, function: { name: "f", arguments: "{}" } };

/** Makes a round with this side; returns the assistant messages that it was sent. */
function round(pending: PendingCompletion, provider: string, upstream: string, fields: Record<string, unknown> = {}) {
  const body = modelCallOf(caller, pending).bodyFor?.({ provider, upstream }) ?? Buffer.alloc(0);
  const answer = { content: "", calls: [call], extraFields: { message: fields, calls: [undefined] } };
  nextRequest(pending, answer, (message) => [message, { role: "tool", tool_call_id: "a", content: "{}" }]);
  const { messages } = JSON.parse(Buffer.from(body).toString()) as { messages: { role: string; hm?: string }[] };
  return messages.filter(({ role }) => role === "assistant").map(({ hm }) => hm);
}
const begin = (): PendingCompletion => ({
  body: { messages: [] },
  model: "m",
  serverTools: true,
  request: Buffer.from('{"messages":[{"role":"user","content":"hi"}],"seed":9007199254740993}'),
});

test("fields of a message go back to the side that gave them", () => {
  const pending = begin();
  const rounds = [{ hm: "one" }, {}, { hm: "three" }].map((fields) => round(pending, "p", "deepseek-r1", fields));
  expect(rounds).toEqual([[], ["one"], ["one", undefined]]);
  expect(round(pending, "p", "deepseek-r1")).toEqual(["one", undefined, "three"]);
  expect(Buffer.from(pending.request).toString()).toContain('"seed":9007199254740993');
});

test.each([
  ["another provider", "q", "deepseek-r1"],
  ["another family of models", "p", "gpt-4o"],
])("fields of a message do not go to %s, which takes over, nor back after it", (_name, provider, upstream) => {
  const pending = begin();
  round(pending, "p", "deepseek-r1", { hm: "one" });
  expect(round(pending, provider, upstream, { hm: "two" })).toEqual([undefined]);
  expect(round(pending, provider, upstream)).toEqual([undefined, "two"]);
  expect(round(pending, "p", "deepseek-r1")).toEqual([undefined, undefined, undefined]);
  expect(round(pending, "p", "deepseek-r1")).toEqual([undefined, undefined, undefined, undefined]);
});
