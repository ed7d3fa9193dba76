import { describe, expect, test } from "vitest";
import { SseParser } from "./sse-parser.ts";

const stream =
  ': hello\n\nid: 7\ndata: {"a":1}\n\n: beat\nid: 8\r\ndata: one\r\ndata: two\r\n\r\ndata:no space\n\nevent: x\nid\ndata\n\ndata: [DONE]\n\n';
const expected = [
  { id: "7", data: '{"a":1}' },
  { id: "8", data: "one\ntwo" },
  { id: "", data: "no space" },
  { id: "", data: "" },
  { id: "", data: "[DONE]" },
];

describe("the reader of event streams", () => {
  test.each([1, 2, 3, 5, 64, 1_000])("finds the same events in pieces of %i characters", (size) => {
    const parser = new SseParser();
    const events = [];
    for (let at = 0; at < stream.length; at += size) events.push(...parser.push(stream.slice(at, at + size)));
    expect(events).toEqual(expected);
  });

  test("keeps an event that has not ended, and ignores a byte order mark", () => {
    const parser = new SseParser();
    expect(parser.push("\ufeffdata: a\n")).toEqual([]);
    expect(parser.push("\n")).toEqual([{ id: "", data: "a" }]);
  });

  test("reads an event of 2 MB in 20,000 pieces in time", () => {
    const parser = new SseParser();
    const before = process.cpuUsage();
    parser.push("data: ");
    for (let i = 0; i < 20_000; i += 1) parser.push("x".repeat(100));
    expect(parser.push("\n\n")[0]?.data.length).toBe(2_000_000);
    expect(process.cpuUsage(before).user / 1_000).toBeLessThan(500);
  });
});
