import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { RunStep } from "@turnwright/contract/conversation/v1/run_step";
import { describe, expect, test } from "vitest";
import type { StepApproval, StepEntry, StepMessage, StepRun } from "./log-facts.ts";
import { stepsOf } from "./steps.ts";

const run: StepRun = {
  status: "completed",
  agent: "general",
  model: "m",
  error: "",
  createdMs: 1_000,
  owner: "w1",
  receipts: new Map(),
};

function entry(seq: number, type: string, atMs: number, rest: Partial<StepEntry> = {}): StepEntry {
  const none = { messages: [], worker: "", spent: undefined, outcomes: new Map(), calls: [] };
  return { seq, type, atMs, ...none, error: "", reason: "", provider: "", model: "", inMs: 0, ...rest };
}

function message(role: string, atMs: number, rest: Partial<StepMessage> = {}): StepMessage {
  return { role, atMs, model: "", promptTokens: 0, completionTokens: 0, latencyMs: 0, callId: "", calls: [], ...rest };
}

/** A model's answer that took `latencyMs`, with calls of the given tools. */
function answer(atMs: number, latencyMs: number, ...tools: string[]): StepMessage {
  const calls = tools.map((name) => ({ id: `c_${name}`, name }));
  return message("assistant", atMs, { model: "m-1", latencyMs, promptTokens: 10, completionTokens: 4, calls });
}

const result = (name: string, atMs: number, latencyMs: number) => message("tool", atMs, { callId: `c_${name}`, latencyMs });

function approval(name: string, createdMs: number, rest: Partial<StepApproval> = {}): StepApproval {
  const facts = { id: `a_${name}`, callId: `c_${name}`, toolName: name, reason: "", isDecided: true };
  return { ...facts, status: "approved", createdMs, endedMs: createdMs + 1_000, ...rest };
}

/** A step in one line: kind, name, status and times. */
function lineOf({ kind, name, status, startedAt, endedAt }: RunStep): string {
  const time = (at: RunStep["startedAt"]) => (at === undefined ? "" : timestampMs(at));
  return `${kind} ${name} ${status} ${time(startedAt)}-${time(endedAt)}`;
}

const linesOf = (steps: readonly RunStep[]) => steps.map(lineOf);

describe("the steps of a run", () => {
  test("that answers with parallel tools have the times of each, and the model's tokens and costs", () => {
    const steps = stepsOf(
      run,
      [
        entry(1, "tool_intent", 1_600, {
          messages: [answer(1_590, 500, "add", "find")],
          worker: "w1",
          spent: { promptTokens: 12, completionTokens: 5, costUsd: 0.5 },
        }),
        entry(2, "completed", 3_000, {
          messages: [result("add", 1_700, 5), result("find", 2_400, 750), answer(2_990, 550)],
          outcomes: new Map([["c_find", "failed"]]),
        }),
      ],
      [],
    );
    expect(linesOf(steps)).toEqual([
      "router general completed 1000-1000",
      "model m-1 completed 1090-1590",
      "tool add completed 1695-1700",
      "tool find failed 1650-2400",
      "model m-1 completed 2440-2990",
    ]);
    const [, first, add, , second] = steps;
    expect(first).toMatchObject({ id: "model-1", node: "think", promptTokens: 12, completionTokens: 5, costUsd: 0.5 });
    expect(add).toMatchObject({ id: "tool-1-1", node: "act", parentId: "model-1", callId: "c_add", workerId: "w1" });
    expect(add).toMatchObject({ firstEventId: "1", lastEventId: "2" });
    expect(second).toMatchObject({ id: "model-2", promptTokens: 10, completionTokens: 4, workerId: "w1" });
    expect(second?.costUsd).toBeUndefined();
  });

  test("that an earlier release has stored have results before the answer with which they were stored", () => {
    const lines = linesOf(
      stepsOf(
        run,
        [
          entry(1, "tool_intent", 1_600, { messages: [answer(1_600, 500, "add")] }),
          entry(2, "completed", 3_000, { messages: [result("add", 3_000, 0), answer(3_000, 400)] }),
        ],
        [],
      ),
    );
    expect(lines.slice(2)).toEqual(["tool add completed 1600-2600", "model m-1 completed 2600-3000"]);
  });

  test("tell of the queue, a failed attempt, a pause and a takeover, each with its worker", () => {
    const steps = stepsOf(
      { ...run, status: "running", owner: "w3" },
      [
        entry(1, "started", 1_500),
        entry(2, "model_attempt", 2_000, { worker: "w1", provider: "one", model: "big", error: "Busy.", reason: "MODEL_FAILED" }),
        entry(3, "retrying", 2_300, { error: "Away.", reason: "MODEL_FAILED", inMs: 4_000 }),
        entry(4, "retried", 6_500),
        entry(5, "recovered", 9_000),
      ],
      [],
    );
    expect(linesOf(steps)).toEqual([
      "queue  completed 1000-1500",
      "router general completed 1500-1500",
      "model big failed 1500-2000",
      "model m failed 2000-2300",
      "retry  completed 2300-6500",
      "model m interrupted 6500-9000",
      "takeover  completed 9000-9000",
      "model m running 9000-",
    ]);
    expect(steps.map(({ attempt }) => attempt)).toEqual([1, 1, 1, 2, 1, 3, 1, 4]);
    expect(steps.map(({ workerId }) => workerId)).toEqual(["", "", "w1", "w1", "", "", "w3", "w3"]);
    expect(steps[2]).toMatchObject({ provider: "one", error: "Busy.", errorReason: "MODEL_FAILED" });
    const { wakeAt, node, error } = steps[4] as RunStep;
    expect([wakeAt && timestampMs(wakeAt), node, error]).toEqual([6_300, "think", "Away."]);
    expect(steps[7]).toMatchObject({ id: "model-6", firstEventId: "6", lastEventId: "" });
  });

  test("show a person's wait apart from the tool that it is for, also in a second round with the same call ids", () => {
    const parked = (seq: number, atMs: number) => entry(seq, "parked", atMs);
    const steps = stepsOf(
      { ...run, status: "waiting" },
      [
        entry(1, "tool_intent", 1_600, { messages: [answer(1_600, 500, "add", "send", "pay")], worker: "w1" }),
        entry(2, "parked", 2_000, { messages: [result("add", 1_900, 100)] }),
        entry(3, "resumed", 9_000),
        entry(4, "tool_intent", 9_900, {
          messages: [result("send", 9_300, 250), result("pay", 9_010, 0), answer(9_900, 500, "send")],
          outcomes: new Map([["c_pay", "rejected"]]),
          worker: "w2",
        }),
        parked(5, 10_000),
      ],
      [
        approval("send", 2_000, { endedMs: 5_000 }),
        approval("pay", 2_000, { status: "rejected", endedMs: 9_000 }),
        approval("send", 10_000, { id: "a_2", status: "pending", isDecided: false, endedMs: undefined }),
      ],
    );
    expect(linesOf(steps).slice(1)).toEqual([
      "model m-1 completed 1100-1600",
      "tool add completed 1800-1900",
      "tool send completed 9050-9300",
      "tool pay rejected 9000-9010",
      "approval send approved 2000-5000",
      "approval pay rejected 2000-9000",
      "model m-1 completed 9400-9900",
      "tool send waiting -",
      "approval send waiting 10000-",
    ]);
    expect(steps[6]).toMatchObject({ parentId: "tool-1-3", approvalId: "a_pay", callId: "c_pay", node: "approve" });
    expect(steps[5]).toMatchObject({ parentId: "tool-1-2", firstEventId: "2", lastEventId: "3" });
    expect(steps[9]).toMatchObject({ parentId: "tool-4-1", approvalId: "a_2", lastEventId: "" });
    expect(steps.map(({ workerId }) => workerId)).toEqual(["", "w1", "w1", "w2", "w2", "", "", "w2", "w2", ""]);
  });

  test("tell of an expired approval, and of the wait for a worker behind it", () => {
    const entries = [
      entry(1, "tool_intent", 1_600, { messages: [answer(1_600, 500, "send")] }),
      entry(2, "parked", 1_700),
      entry(3, "resumed", 5_000),
    ];
    const expired = [approval("send", 1_700, { status: "rejected", reason: "expired", isDecided: false, endedMs: 5_000 })];
    const queued = stepsOf({ ...run, status: "queued", owner: "" }, entries, expired);
    expect(linesOf(queued).slice(2)).toEqual(["tool send waiting -", "approval send expired 1700-5000", "queue  waiting 5000-"]);
    const claimed = stepsOf({ ...run, status: "running" }, [...entries, entry(4, "retried", 6_000)], expired);
    expect(linesOf(claimed).slice(2)).toEqual([
      "tool send running 6000-",
      "approval send expired 1700-5000",
      "queue  completed 5000-6000",
    ]);
  });

  test("show an unknown outcome, the review of it, and the settled call with its first time", () => {
    const steps = stepsOf(
      run,
      [
        entry(1, "tool_intent", 1_600, { messages: [answer(1_600, 500, "send")] }),
        entry(2, "needs_review", 2_000, { calls: [{ id: "c_send", name: "send" }] }),
        entry(3, "resumed", 60_000),
        entry(4, "completed", 61_000, { messages: [result("send", 60_100, 0), answer(61_000, 800)] }),
      ],
      [],
    );
    expect(linesOf(steps).slice(2)).toEqual([
      "tool send completed 1600-2000",
      "review send completed 2000-60000",
      "model m-1 completed 60200-61000",
    ]);
    expect(steps[3]).toMatchObject({ parentId: "tool-1-1", callId: "c_send", node: "act" });
  });
});

describe("the steps of a run that ends early", () => {
  test("are cancelled as the receipts say, and so are its waits", () => {
    const receipts = new Map([
      ["c_add", "completed"],
      ["c_find", "aborted"],
      ["c_send", "unknown"],
    ]);
    const intent = entry(1, "tool_intent", 1_600, { messages: [answer(1_600, 500, "add", "find", "send")] });
    const cancelled = stepsOf({ ...run, status: "cancelled", receipts }, [intent, entry(2, "cancelled", 2_000)], []);
    expect(linesOf(cancelled).slice(2)).toEqual([
      "tool add completed 1600-2000",
      "tool find cancelled 1600-2000",
      "tool send unknown 1600-2000",
    ]);
    const refused = approval("send", 1_700, { status: "rejected", isDecided: false, endedMs: 2_000 });
    const entries = [
      { ...intent, messages: [answer(1_600, 500, "send")] },
      entry(2, "parked", 1_700),
      entry(3, "cancelled", 2_000),
    ];
    expect(linesOf(stepsOf({ ...run, status: "cancelled" }, entries, [refused])).slice(2)).toEqual([
      "tool send cancelled -2000",
      "approval send cancelled 1700-2000",
    ]);
    const thinking = stepsOf({ ...run, status: "cancelled" }, [entry(1, "cancelled", 1_200)], []);
    expect(linesOf(thinking).slice(1)).toEqual(["model m cancelled 1000-1200"]);
  });

  test("have the error at the step that failed, or at the queue that it did not leave", () => {
    const failed = entry(1, "failed", 1_400, { error: "It is away.", reason: "MODEL_FAILED" });
    const steps = stepsOf({ ...run, status: "failed" }, [failed], []);
    expect(linesOf(steps)).toEqual(["router general completed 1000-1000", "model m failed 1000-1400"]);
    expect(steps[1]).toMatchObject({ error: "It is away.", errorReason: "MODEL_FAILED" });
    const ended = entry(1, "failed", 1_400, { reason: "INTERNAL" });
    const queued = stepsOf({ ...run, status: "failed", owner: "", error: "It is damaged." }, [ended], []);
    expect(linesOf(queued)).toEqual(["queue  failed 1000-1400"]);
    expect(queued[0]).toMatchObject({ error: "It is damaged.", errorReason: "INTERNAL" });
    const waiting = stepsOf({ ...run, status: "queued", owner: "" }, [], []);
    expect(linesOf(waiting)).toEqual(["queue  waiting 1000-"]);
  });
});
