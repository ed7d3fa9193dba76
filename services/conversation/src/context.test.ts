import { create } from "@bufbuild/protobuf";
import { MessageSchema } from "@turnwright/contract/conversation/v1/conversation";
import { expect, test } from "vitest";
import { wholeRounds } from "./context.ts";

/** `u` user, `a` assistant, `c12` assistant calling 1 and 2, `t1` the answer to 1. */
function messages(text: string) {
  return text
    .split(" ")
    .filter((word) => word !== "")
    .map((word) =>
      create(MessageSchema, {
        name: word,
        role: word.startsWith("u") ? "user" : word.startsWith("t") ? "tool" : "assistant",
        toolCalls: word.startsWith("c") ? [...word.slice(1)].map((id) => ({ id })) : [],
        toolCallId: word.startsWith("t") ? word.slice(1) : "",
      }),
    );
}

test.each([
  { given: "u a u a", limit: 10, kept: "u a u a", why: "all fit" },
  { given: "u1 a1 u2 a2", limit: 3, kept: "a1 u2 a2", why: "the oldest goes first" },
  { given: "t1 t2 a u", limit: 10, kept: "a u", why: "answers whose call is cut off go" },
  { given: "u c12 t1 t2 a", limit: 4, kept: "c12 t1 t2 a", why: "a round fits as a whole" },
  { given: "u c12 t1 t2 a", limit: 3, kept: "a", why: "a round that does not fit goes as a whole" },
  { given: "u c12 t1 u2 a2", limit: 10, kept: "u u2 a2", why: "an interrupted round goes" },
  { given: "u c1 u2 c1 t1", limit: 10, kept: "u u2 c1 t1", why: "ids may return in another round" },
  { given: "u c1 t1 t1 a", limit: 10, kept: "u c1 t1 a", why: "an answer is given once" },
  { given: "", limit: 10, kept: "", why: "nothing is nothing" },
  { given: "u a", limit: 0, kept: "", why: "no room is nothing" },
])("keeps whole rounds: $why", ({ given, limit, kept }) => {
  const names = wholeRounds(messages(given), limit).map(({ name }) => name);
  expect(names.join(" ")).toBe(kept);
});

test.each([
  { given: "u c12 t1", limit: 10, kept: "u c12 t1" },
  { given: "u c123 t1 t2", limit: 2, kept: "c123 t1 t2" },
  { given: "u c1 u2 c12", limit: 10, kept: "u u2 c12" },
  { given: "t1 t2", limit: 2, kept: "" },
])("keeps the round that a resumed run is about to answer: $given at $limit", ({ given, limit, kept }) => {
  const names = wholeRounds(messages(given), limit, { keepLast: true }).map(({ name }) => name);
  expect(names.join(" ")).toBe(kept);
});
