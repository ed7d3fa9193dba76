import { describe, expect, test } from "vitest";
import { answerTo } from "./burst-model.ts";
import { type ConversationRecord, inversions, recordFaults, uninterrupted } from "./burst-record.ts";

describe("a record of a burst", () => {
  const texts = new Set(["c a", "c b"]);
  const run = (run_id: string, accepted: number, answer: number | null) => ({
    ...{ run_id, status: "completed", accepted, started: accepted, ended: accepted + 900, answer },
    ...{ cancelled_for: null, epoch: 1 },
  });
  const exchange = (text: string) => [
    { role: "user", content: text },
    { role: "assistant", content: answerTo(text) },
  ];
  const sound: ConversationRecord = {
    runs: [run("1", 0, 2), run("2", 1_000, 4)],
    messages: [...exchange("c a"), ...exchange("c b")],
  };

  test("is sound when each answer follows its message", () => {
    expect(recordFaults(sound, texts)).toEqual([]);
    expect([inversions(sound), uninterrupted(sound)]).toEqual([0, 0]);
  });

  test("reveals parallel runs, doubled text, repeated messages, misplaced answers and unfinished runs", () => {
    const [first, second] = sound.runs as [(typeof sound.runs)[0], (typeof sound.runs)[0]];
    const faultsOf = (change: Partial<ConversationRecord>) => recordFaults({ ...sound, ...change }, texts).join();
    expect(faultsOf({ runs: [{ ...first, ended: 2_000 }, second] })).toContain("at once");
    const doubled = [
      ...exchange("c a"),
      { role: "user", content: "c b" },
      { role: "assistant", content: `this ${answerTo("c b")}` },
    ];
    expect(faultsOf({ messages: doubled })).toContain("the answer of run 2");
    expect(faultsOf({ messages: [...exchange("c a"), ...exchange("c a")] })).toContain("stored twice");
    expect(
      faultsOf({
        runs: [
          { ...first, answer: 4 },
          { ...second, answer: 3 },
        ],
      }),
    ).toContain("the answer of run 2");
    expect(faultsOf({ runs: [first, { ...second, status: "queued", ended: null }] })).toContain("run 2 is queued");
    const third = run("3", 2_000, 3);
    expect(inversions({ ...sound, runs: [first, second, third] })).toBe(1);
    expect(inversions({ ...sound, runs: [first, second, run("3", 1_100, 3)] })).toBe(0);
    expect(uninterrupted({ ...sound, runs: [{ ...first, ended: 2_000 }, second] })).toBe(1);
  });
});
