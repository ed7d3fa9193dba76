import { create } from "@bufbuild/protobuf";
import { MessageSchema } from "@turnwright/contract/conversation/v1/conversation";
import { LoggedEventSchema, RunInfoSchema } from "@turnwright/contract/conversation/v1/run";
import { createLogger } from "@turnwright/platform/logger";
import { createMemoryBus } from "@turnwright/platform/ports/bus-memory";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { RunFrame } from "./frame.ts";
import { LiveLog, type LivePiece, replyTopic } from "./live-log.ts";
import { parsePosition, start } from "./position.ts";
import { storedFrames } from "./stored-frames.ts";
import { OrderedStream } from "./stream-order.ts";

interface Delta {
  readonly type: "content" | "reasoning";
  readonly delta: string;
}

/** Frames as one line of text: `R` before reasoning, `C` before content, neighbours of a kind joined. */
function lineOf(frames: readonly RunFrame[]): string {
  let line = "";
  let last = "";
  for (const { type, delta = "" } of frames) {
    if (type !== "content" && type !== "reasoning") continue;
    if (type !== last) line += type === "reasoning" ? "|R:" : "|C:";
    last = type;
    line += delta;
  }
  return line;
}

/** Streams deltas as the driver does: the live frames, and the log's entry about them. */
function streamed(deltas: readonly Delta[], isKeyed = false) {
  const frames: RunFrame[] = [];
  const logger = createLogger({ service: "test", level: "silent" });
  const bus = createMemoryBus({ logger });
  const log = new LiveLog({ id: "run", seq: 0, isKeyed }, { bus, logger }, (frame) => frames.push({ ...frame }));
  const text = new OrderedStream(isKeyed);
  for (const delta of deltas) {
    const shown = text.take(delta);
    if (shown !== undefined) log.emit(shown);
  }
  const held = text.end();
  if (held !== undefined) log.emit(held);
  const content = deltas.flatMap(({ type, delta }) => (type === "content" ? [delta] : [])).join("");
  const message = create(MessageSchema, { role: "assistant", content, reasoning: text.reasoning });
  const payload = JSON.stringify({ finish_reason: "stop", ...text.streamed });
  const entry = create(LoggedEventSchema, { seq: 1, type: "completed", payload, messages: [message] });
  return { frames, entry, message, log, bus };
}

const run = create(RunInfoSchema, { id: "run" });
const delta = fc.record({ type: fc.constantFrom("content" as const, "reasoning" as const), delta: fc.string({ maxLength: 6 }) });

describe("reasoning in a run's events", () => {
  test("is apart from the content", () => {
    const { frames, message } = streamed([
      { type: "reasoning", delta: "Two and " },
      { type: "reasoning", delta: "three." },
      { type: "content", delta: "5" },
    ]);
    expect(frames.map(({ type, delta: text, eventId }) => [type, text, eventId])).toEqual([
      ["reasoning", "Two and ", "0.8"],
      ["reasoning", "three.", "0.14"],
      ["content", "5", "0.15"],
    ]);
    expect(message).toMatchObject({ content: "5", reasoning: "Two and three." });
  });

  test("has the same positions live and stored, in whatever order it is streamed: a reader goes on from any of them", () => {
    fc.assert(
      fc.property(fc.array(delta, { maxLength: 200 }), (deltas) => {
        const { frames, entry } = streamed(deltas);
        const whole = lineOf(storedFrames(entry, run, start));
        expect(lineOf(frames)).toBe(whole);
        for (const [index, frame] of frames.entries()) {
          const at = parsePosition(frame.eventId ?? "");
          const rest = storedFrames(entry, run, at);
          expect(lineOf([...frames.slice(0, index + 1), ...rest])).toBe(whole);
        }
      }),
      { numRuns: 60 },
    );
  });

  test("has the same frames live and stored where a client may repeat its request, and a late watcher gets them too", async () => {
    const texts = fc.array(delta, { minLength: 1, maxLength: 200 });
    await fc.assert(
      fc.asyncProperty(texts, fc.nat(), async (deltas, from) => {
        const { frames, entry, log, bus } = streamed(deltas, true);
        // Live frames have the worker's time, stored ones that of the database, which this entry lacks.
        const untimed = frames.map(({ atMs, ...frame }) => frame);
        expect(storedFrames(entry, run, start).slice(0, -1)).toEqual(untimed);
        expect(frames.every(({ atMs = 0 }) => Math.abs(Date.now() - atMs) < 60_000)).toBe(true);
        if (frames.length === 0) return;
        const seen = frames[from % frames.length]?.eventId ?? "";
        const got = Promise.withResolvers<string>();
        const unsubscribe = await bus.subscribe(replyTopic("w"), (payload) => got.resolve(payload));
        log.watched({ runId: "run", after: seen, replyTo: "w", watcher: 1 });
        const { frames: rest } = JSON.parse((await got.promise).slice(2)) as LivePiece;
        expect(rest.map(({ type, delta: text }) => [type, text])).toEqual(
          frames.slice((from % frames.length) + 1).map(({ type, delta: text }) => [type, text]),
        );
        await unsubscribe();
      }),
      { numRuns: 60 },
    );
  });

  test("is told in larger pieces when the kept ones do not fit the stored text, or are too many", () => {
    const words: Delta[] = Array.from({ length: 20_001 }, () => ({ type: "content", delta: "w" }));
    const { entry } = streamed(words, true);
    expect(entry.payload.length).toBeLessThan(100);
    expect(storedFrames(entry, run, start).length).toBeLessThan(10);
    const message = create(MessageSchema, { role: "assistant", content: "abc" });
    for (const pieces of [[1, 1], [1, 1, 1, 1], [0, 3], [-1, 4], [1.5, 1.5], ["1", 2], "abc", { length: 3 }]) {
      const payload = JSON.stringify({ pieces });
      const odd = create(LoggedEventSchema, { seq: 1, type: "completed", payload, messages: [message] });
      expect(lineOf(storedFrames(odd, run, start))).toBe("|C:abc");
    }
  });

  test("that changes with the content more often than is told apart loses nothing", () => {
    const deltas = Array.from({ length: 500 }, (_, index): Delta => {
      return { type: index % 2 === 0 ? "reasoning" : "content", delta: `${index},` };
    });
    const { frames, entry, message } = streamed(deltas);
    expect(lineOf(frames)).toBe(lineOf(storedFrames(entry, run, start)));
    const all = (type: string) => frames.flatMap((frame) => (frame.type === type ? [frame.delta] : [])).join("");
    expect([all("reasoning"), all("content")]).toEqual([message.reasoning, message.content]);
    expect(entry.payload.length).toBeLessThan(1_000);
  });

  test("reaches a late watcher as it reached the early ones", async () => {
    const { frames, log, bus } = streamed([
      { type: "reasoning", delta: "a" },
      { type: "reasoning", delta: "b" },
      { type: "content", delta: "c" },
      { type: "reasoning", delta: "d" },
      { type: "content", delta: "e" },
    ]);
    const got = Promise.withResolvers<string>();
    const unsubscribe = await bus.subscribe(replyTopic("w"), (payload) => got.resolve(payload));
    log.watched({ runId: "run", after: "0.1", replyTo: "w", watcher: 7 });
    const reply = await got.promise;
    expect(reply.slice(0, 2)).toBe("7 ");
    const piece = JSON.parse(reply.slice(2)) as LivePiece;
    expect(lineOf(piece.frames)).toBe("|R:b|C:c|R:d|C:e");
    expect(lineOf(frames)).toBe("|R:ab|C:c|R:d|C:e");
    await unsubscribe();
  });

  test("of an entry whose order does not fit its text is shown before the content", () => {
    const message = create(MessageSchema, { role: "assistant", content: "c", reasoning: "r" });
    for (const order of [[-1], ["x"], 7, { length: 2 }, [0.5]]) {
      const entry = create(LoggedEventSchema, {
        seq: 1,
        type: "completed",
        payload: JSON.stringify({ order }),
        messages: [message],
      });
      expect(lineOf(storedFrames(entry, run, start))).toBe("|R:r|C:c");
    }
  });
});
