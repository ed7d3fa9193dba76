import { expect, test } from "vitest";
import type { UserEvent } from "../store/user-events.ts";
import { EventQueue, type Told } from "./event-queue.ts";

const counts = { pending: 0, needsReview: 0, running: 1 };
let number = 0;

function change(subject: string, init: Partial<UserEvent> = {}): UserEvent {
  number += 1;
  const ids = { userId: "u", runId: subject, conversationId: "c", callId: "", toolName: "" };
  return { id: number, atUs: number, subject, type: "run.changed", status: "running", seq: number, ...ids, ...init };
}

async function drained(queue: EventQueue): Promise<Told[]> {
  const told: Told[] = [];
  queue.setCounts(counts, 1);
  for (;;) {
    const next = await queue.next();
    if (next === undefined) return told;
    told.push(next);
    if (next.kind === "counts") return told;
  }
}

test("changes of one run that wait are told as one, the newest, and never an older one after it", async () => {
  const queue = new EventQueue();
  for (const status of ["queued", "running", "waiting"]) queue.push(change("a", { status }));
  queue.push(change("b"));
  queue.push(change("a", { status: "running", seq: 0 }));
  const told = await drained(queue);
  expect(told.map((one) => (one.kind === "event" ? [one.event.subject, one.event.status] : one.kind))).toEqual([
    ["a", "waiting"],
    ["b", "running"],
    "counts",
  ]);
});

test("a reader that does not read costs no more than 256 changes, and learns with fresh counts that some are lost", async () => {
  const queue = new EventQueue();
  for (let run = 0; run < 5_000; run += 1) queue.push(change(`run-${run}`));
  expect(queue.hasMissed).toBe(true);
  expect(queue.isTelling).toBe(false);
  expect(await drained(queue)).toEqual([{ kind: "counts", counts, atUs: 1, isReset: true }]);
  queue.push(change("later"));
  expect(await drained(queue)).toEqual([
    { kind: "event", event: expect.objectContaining({ subject: "later" }) },
    { kind: "counts", counts, atUs: 1, isReset: false },
  ]);
});

test("a closed queue ends its reader, and holds nothing more", async () => {
  const queue = new EventQueue();
  const next = queue.next();
  queue.close();
  expect(await next).toBeUndefined();
  queue.push(change("a"));
  queue.setCounts(counts, 1);
  expect(await queue.next()).toBeUndefined();
});
