import { ErrorReason } from "@turnwright/platform/errors";
import { describe, expect, test } from "vitest";
import { chunk, done, openai, read, sse, stop, tapped } from "../../../testing/answers.ts";
import { cut } from "../../../testing/stream.ts";
import { AnswerFrames } from "./answer-frames.ts";
import { OutputCount } from "./output-count.ts";

const mebibyte = 1024 * 1024;
const piecesOf = (bytes: Buffer, size: number) =>
  Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) => bytes.subarray(at * size, (at + 1) * size));
const timed = (work: () => void) => {
  const started = performance.now();
  work();
  return performance.now() - started;
};

describe("splitting is linear", () => {
  test.each([
    ["an event of 6 MiB in pieces of 8 KiB", sse(chunk({ content: "x".repeat(6 * mebibyte) }), stop), 8_192],
    ["an event of 256 KiB in pieces of one byte", sse(chunk({ content: "x".repeat(mebibyte / 4) }), stop), 1],
    ["JSON of 6 MiB", JSON.stringify({ choices: [{ message: { content: "x".repeat(6 * mebibyte) } }] }), 8_192],
    [
      "JSON that says [DONE] at the end of each piece",
      JSON.stringify({ choices: [{ message: { content: "data: [DONE]".repeat(mebibyte / 2) } }] }),
      12 * 700,
    ],
    ["blank lines of 6 MiB", `${"\n".repeat(6 * mebibyte)}${sse(chunk({ content: "x" }), stop)}`, 8_192],
    ["carriage returns of 6 MiB", `${"\r".repeat(6 * mebibyte)}${sse(chunk({ content: "x" }), stop)}`, 8_192],
    ["a comment of 6 MiB", `: ${"x".repeat(6 * mebibyte)}\n\n${sse(chunk({ content: "x" }), stop)}`, 8_192],
  ])("for %s", (_name, stream, size) => {
    const pieces = piecesOf(Buffer.from(stream), size);
    let error: unknown;
    const ms = timed(() => {
      ({ error } = read(pieces));
    });
    expect(error).toBeUndefined();
    // Quadratic splitting takes several times as long on any machine.
    expect(ms).toBeLessThan(4_000);
  });
});

describe("an answer that is too large", () => {
  const limit = 100_000;
  const tooLarge = { reason: ErrorReason.ANSWER_TOO_LARGE, message: expect.stringContaining("100000 bytes (LLM_MAX_ANSWER)") };
  const bounded = () => Object.assign(new OutputCount(), { maxBytes: limit });
  const words = Array.from({ length: 200 }, () => chunk({ content: "word ".repeat(200) }));

  test.each<[string, string]>([
    ["in one event", sse(chunk({ content: "x".repeat(limit) }), stop)],
    ["in an event that never ends", `data: ${"x".repeat(limit + 1)}`],
    ["in JSON", JSON.stringify({ choices: [{ message: { content: "x".repeat(limit) } }] })],
    ["in many events", sse(...words, stop)],
    [
      "in chunks that say nothing",
      sse(chunk({ role: "assistant", content: "" }), ...Array.from({ length: 20_000 }, () => chunk({}))),
    ],
  ])("ends with ANSWER_TOO_LARGE %s", (_name, stream) => {
    const pieces = piecesOf(Buffer.from(stream), 8_192);
    expect(read(pieces, limit).error).toEqual(tooLarge);
    expect(tapped({ ...openai, output: bounded() }, pieces).error).toEqual(tooLarge);
  });

  test("reaches the client up to its limit", () => {
    const { output, error } = tapped({ ...openai, output: bounded() }, piecesOf(Buffer.from(sse(...words, stop)), 8_192));
    expect(error?.reason).toBe(ErrorReason.ANSWER_TOO_LARGE);
    expect(output.split("word ").length).toBeGreaterThan(limit / 5 - 2_000);
  });

  test("is one by its words and not by its envelopes", () => {
    const letters = Array.from({ length: 5_000 }, () => chunk({ content: "a" }));
    const stream = sse(...letters, stop, done);
    expect(stream.length).toBeGreaterThan(limit * 4);
    expect(read(piecesOf(Buffer.from(stream), 8_192), limit)).toMatchObject({ error: undefined, content: "a".repeat(5_000) });
  });
});

test("frames are the same wherever their bytes are cut, with any line ends", () => {
  const stream = "\ufeff\r\n: hi\r\rdata: a\r\ndata: b\n\r\ndata:c\r\n\r\n\n\ndata: d\n\n\r\revent: e\rdata: f";
  const bytes = Buffer.from(stream);
  const framesOf = (pieces: readonly Buffer[]) => {
    const frames = new AnswerFrames(mebibyte);
    return [...pieces.flatMap((piece) => frames.push(piece)), ...frames.end()];
  };
  const expected = [": hi", "data: a\ndata: b", "data:c", "data: d", "event: e\ndata: f"];
  expect(framesOf([bytes])).toEqual(expected);
  for (let at = 0; at <= bytes.length; at++) expect(framesOf(cut(bytes, [at]))).toEqual(expected);
  expect(framesOf(piecesOf(bytes, 1))).toEqual(expected);
});
