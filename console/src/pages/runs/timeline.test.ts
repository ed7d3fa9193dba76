import { expect, test } from "vitest";
import type { RunStep } from "../../api/types.ts";
import { placeOf, spentBy, timelineOf } from "./timeline.ts";
import { chainText, wayOf } from "./way.ts";

const at = (seconds: number) => new Date(Date.UTC(2026, 0, 1) + seconds * 1_000).toISOString();
const step = (id: string, kind: string, from: number | null, to: number | null, more: Partial<RunStep> = {}) =>
  ({
    id,
    kind,
    parent_id: "",
    status: "completed",
    started_at: from === null ? null : at(from),
    ended_at: to === null ? null : at(to),
    ...more,
  }) as never as RunStep;

const waited = [
  step("queue", "queue", 0, 0.2),
  step("router", "router", 0.2, 0.2),
  step("m1", "model", 0.2, 2),
  step("t1", "tool", 2, 2.1, { parent_id: "m1" }),
  step("t2", "tool", 50.4, 50.7, { parent_id: "m1" }),
  step("a1", "approval", 2, 50.4, { parent_id: "t2" }),
  step("m2", "model", 50.7, 54),
];
const now = new Date(at(60));

test("a wait for a person is folded, and the rest keeps its proportions", () => {
  const { bars, stretches, totalMs } = timelineOf(waited, now);
  expect(totalMs).toBe(54_000);
  expect(bars.map(({ step: { id } }) => id)).toEqual(["queue", "router", "m1", "t1", "a1", "t2", "m2"]);
  expect(stretches.map(({ isFolded }) => isFolded)).toEqual([false, true, false]);
  const width = 600;
  expect(placeOf(stretches, new Date(at(0)).getTime(), width)).toBe(0);
  expect(placeOf(stretches, new Date(at(54)).getTime(), width)).toBeCloseTo(width);
  const fold = placeOf(stretches, new Date(at(50.4)).getTime(), width) - placeOf(stretches, new Date(at(2.1)).getTime(), width);
  expect(fold).toBeCloseTo(48);
});

test("a run of no length, and one without steps, have an axis", () => {
  expect(timelineOf([], now)).toMatchObject({ bars: [], stretches: [], totalMs: 0 });
  const { stretches } = timelineOf([step("q", "queue", 1, 1)], now);
  expect(placeOf(stretches, new Date(at(1)).getTime(), 600)).toBe(0);
});

test("the time of a run is told by what it was spent for; an open step counts up to now", () => {
  const spent = spentBy([...waited, step("m3", "model", 55, null, { status: "running" })], now);
  expect(spent.people).toBe(48_400);
  expect(spent.model).toBeCloseTo(1_800 + 3_300 + 5_000);
  expect(spent.tools).toBeCloseTo(400);
});

test("the way counts each edge that was passed", () => {
  const way = wayOf(waited, true);
  expect(way.visits).toEqual({ router: 1, think: 2, approve: 1, act: 2, observe: 1, response: 1 });
  expect(way.edges).toEqual({
    "router>think": 1,
    "think>approve": 1,
    "approve>act": 1,
    "think>act": 1,
    "act>observe": 2,
    "observe>think": 1,
    "think>response": 1,
  });
  expect(chainText(way)).toBe("router → think × 2 → approve → act × 2 → observe → response");
});

test("a run that waits has not passed on, and a failed call of a model is no thought", () => {
  const steps = [
    step("router", "router", 0, 0),
    step("m0", "model", 0, 1, { status: "failed" }),
    step("m1", "model", 1, 2),
    step("t1", "tool", null, null, { parent_id: "m1", status: "waiting" }),
    step("a1", "approval", 2, null, { parent_id: "t1", status: "waiting" }),
  ];
  expect(wayOf(steps, false).edges).toEqual({ "router>think": 1, "think>approve": 1 });
});
