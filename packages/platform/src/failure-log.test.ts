import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { ErrorReason, fail } from "./errors.ts";
import { causeOf, createFailureLog, errorFacts, type FailureLogLimits } from "./failure-log.ts";
import { createLogger } from "./logger.ts";

beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] }));
afterEach(() => void vi.useRealTimers());

function watched(limits?: Partial<FailureLogLimits>) {
  const lines: Record<string, unknown>[] = [];
  const logger = createLogger({ service: "test", destination: { write: (text) => void lines.push(JSON.parse(text)) } });
  return { lines, log: createFailureLog(logger, limits) };
}

const refused = Object.assign(new Error("connect ECONNREFUSED 127.0.0.1:9"), { code: "ECONNREFUSED" });
const failure = (subject: string, error: unknown = refused, fields: object = {}) => ({
  message: "a call failed",
  subject: [subject],
  error,
  fields: () => ({ ...fields }),
});

describe("the log of failures", () => {
  test("writes one warning for a failure, with its reason, its cause and its fields", () => {
    const { lines, log } = watched();
    const error = fail(ErrorReason.MODEL_FAILED, "The endpoint does not answer.", { cause: refused });
    log.warn(failure("m", error, { model: "m", run_id: "r" }));
    vi.advanceTimersByTime(60_000);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({
      level: "warn",
      msg: "a call failed",
      reason: "ERROR_REASON_MODEL_FAILED",
      cause: "ECONNREFUSED",
      error: "The endpoint does not answer.",
      model: "m",
      run_id: "r",
    });
    expect(lines[0]).not.toHaveProperty("left_out");
    expect(lines[0]).not.toHaveProperty("err");
  });

  test("writes a few of many equal failures, then the last one with the count of those in between", () => {
    const { lines, log } = watched();
    for (let i = 1; i <= 10_000; i += 1) log.warn(failure("m", refused, { i }));
    expect(lines.map(({ i }) => i)).toEqual([1, 2, 3, 4, 5]);
    vi.advanceTimersByTime(10_000);
    expect(lines).toHaveLength(6);
    expect(lines[5]).toMatchObject({ i: 10_000, left_out: 9_994 });
    vi.advanceTimersByTime(60_000);
    expect(lines).toHaveLength(6);
    log.warn(failure("m", refused, { i: 10_001 }));
    expect(lines[6]).toMatchObject({ i: 10_001 });
  });

  test("counts each subject and each cause apart", () => {
    const { lines, log } = watched({ perKind: 1 });
    const reset = Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" });
    for (const error of [refused, reset]) for (const subject of ["a", "b", "a"]) log.warn(failure(subject, error, { subject }));
    expect(lines.map(({ subject, cause }) => [subject, cause])).toEqual([
      ["a", "ECONNREFUSED"],
      ["b", "ECONNREFUSED"],
      ["a", "ECONNRESET"],
      ["b", "ECONNRESET"],
    ]);
  });

  test("stays within its lines and its memory, however many subjects fail", () => {
    const { lines, log } = watched({ inAll: 10, kinds: 50 });
    const fields = vi.fn(() => ({}));
    for (let i = 0; i < 5_000; i += 1) log.warn({ ...failure(`host-${i}`), fields });
    expect(lines).toHaveLength(10);
    vi.advanceTimersByTime(10_000);
    expect(lines).toHaveLength(21);
    const counted = lines.reduce((sum, { left_out: leftOut = 0 }) => sum + Number(leftOut), 0);
    expect(counted + 20).toBe(5_000);
    expect(lines.at(-1)).toMatchObject({ msg: "further failures are not written", kinds: 31 });
    expect(fields).toHaveBeenCalledTimes(20);
  });
});

describe("the cause of a failure", () => {
  test.each([
    ["a code behind two errors", new TypeError("fetch failed", { cause: new Error("x", { cause: refused }) }), "ECONNREFUSED"],
    ["the last of several addresses", new AggregateError([new Error("x"), refused], "all failed"), "ECONNREFUSED"],
    ["a certificate", Object.assign(new Error("x"), { code: "DEPTH_ZERO_SELF_SIGNED_CERT" }), "DEPTH_ZERO_SELF_SIGNED_CERT"],
    ["a state of PostgreSQL", Object.assign(new Error("x"), { code: "57P01" }), "57P01"],
    ["a class", new DOMException("The time is over.", "TimeoutError"), "TimeoutError"],
    ["an error of ours without a cause", fail(ErrorReason.MODEL_FAILED, "x"), undefined],
    ["a plain error", new Error("x"), undefined],
    ["no error at all", "text", undefined],
    ["a code that is a text", Object.assign(new Error("x"), { code: "secret text of a user" }), undefined],
  ])("is %s", (_what, error, cause) => {
    expect(causeOf(error)).toBe(cause);
  });

  test("ends, also when the errors form a circle", () => {
    const error = new Error("x");
    error.cause = error;
    expect(causeOf(error)).toBeUndefined();
  });

  test("of an unexpected error names the place in the code, never its text", () => {
    const facts = errorFacts(new TypeError("no user secret@example.com\n    at fake (file:///secret/place.ts:1:1)"));
    expect(facts).toEqual({
      reason: "ERROR_REASON_INTERNAL",
      cause: "TypeError",
      at: expect.stringMatching(/failure-log\.test\.ts:\d+:\d+$/),
    });
  });

  test("of an unexpected error names its place, also when its text was changed later", () => {
    const error = new TypeError("short");
    const { at } = errorFacts(error);
    error.message = "a longer text that a caller put in the place of the first one, ".repeat(20);
    expect(errorFacts(error).at).toBe(at);
  });

  test.each([
    ["at read (/srv/agent backend (1)/store.ts:3:14)", "/srv/agent backend (1)/store.ts:3:14"],
    ["at /srv/agent backend (1)/store.ts:3:14", "/srv/agent backend (1)/store.ts:3:14"],
    ["at async Store.read [as get] (file:///srv/agent%20backend/store.ts:3:14)", "file:///srv/agent%20backend/store.ts:3:14"],
    ["at async node:internal/store:3:14", "node:internal/store:3:14"],
  ])("of an unexpected error names its place, in any path: %s", (frame, at) => {
    const error = new TypeError("short");
    error.stack = `TypeError: short\n    at native\n    ${frame}\n    at other (/srv/other.ts:1:1)`;
    expect(errorFacts(error).at).toBe(at);
  });
});
