import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { MessageSchema } from "@turnwright/contract/conversation/v1/conversation";
import { LoggedEventSchema, RunInfoSchema } from "@turnwright/contract/conversation/v1/run";
import { expect, test } from "vitest";
import { storedFrames } from "./stored-frames.ts";

const run = create(RunInfoSchema, { id: "r" });
const told = { provider: "one", model: "smart", error: "It broke off.", reason: "ERROR_REASON_MODEL_FAILED" };
const result = create(MessageSchema, { role: "tool", toolCallId: "c", name: "calculator", content: "5" });
const attempt = (isShown: boolean) =>
  create(LoggedEventSchema, {
    seq: 8,
    type: "model_attempt",
    payload: JSON.stringify({ ...told, is_shown: isShown }),
    messages: [result],
  });
const seen = (units: number, isShown = true) =>
  storedFrames(attempt(isShown), run, { seq: 7, units }).map(({ type, eventId, since }) => [type, eventId, since]);

test("a failed attempt that was shown is stored as a reset to the results before it, and the attempt", () => {
  expect(seen(0)).toEqual([
    ["tool_result", "7.1", undefined],
    ["reset", "7.2", "7.1"],
    ["model_attempt", "8", undefined],
  ]);
  expect(storedFrames(attempt(true), run, { seq: 7, units: 0 })[2]).toMatchObject({
    provider: "one",
    model: "smart",
    error: "It broke off.",
    errorReason: "MODEL_FAILED",
  });
});

test("a reader within the void text gets the same reset, behind everything that it has seen", () => {
  expect(seen(1)).toEqual([
    ["reset", "7.2", "7.1"],
    ["model_attempt", "8", undefined],
  ]);
  expect(seen(40)).toEqual([
    ["reset", "7.41", "7.1"],
    ["model_attempt", "8", undefined],
  ]);
});

test("a failed attempt that showed nothing takes nothing back", () => {
  expect(seen(0, false)).toEqual([
    ["tool_result", "7.1", undefined],
    ["model_attempt", "8", undefined],
  ]);
});

test.each([
  ["a journal of today", { agentType: "coder", agent: "coder" }],
  ["a journal that knows the deprecated name alone", { agent: "coder" }],
])("the start of a run names its agent twice, from %s", (_, named) => {
  const started = create(LoggedEventSchema, { seq: 1, type: "started", payload: "{}" });
  const frames = storedFrames(started, create(RunInfoSchema, { id: "r", ...named }), { seq: 0, units: 0 });
  expect(frames).toMatchObject([{ type: "started", agentType: "coder", agent: "coder" }]);
});

test("stored events have the time of their message or their entry, and a retry the pause before it", () => {
  const entry = create(LoggedEventSchema, {
    seq: 3,
    type: "retrying",
    payload: JSON.stringify({ in_ms: 2_500, error: "It is away." }),
    messages: [{ ...result, createdAt: timestampFromMs(1_000) }],
    createdAt: timestampFromMs(9_000),
  });
  expect(storedFrames(entry, run, { seq: 2, units: 0 })).toMatchObject([
    { type: "tool_result", atMs: 1_000 },
    { type: "retrying", atMs: 9_000, inMs: 2_500, error: "It is away." },
  ]);
});
