import { describe, expect, test } from "vitest";
import { createLogger } from "./logger.ts";

/** The log entry written for some fields. */
function written(fields: object): Record<string, unknown> {
  const lines: string[] = [];
  const logger = createLogger({ service: "test", destination: { write: (text) => void lines.push(text) } });
  logger.info(fields, "something happened");
  expect(lines).toHaveLength(1);
  return JSON.parse(lines[0] as string) as Record<string, unknown>;
}

describe("the logger", () => {
  test("writes one JSON object a line, with level, time, service and message", () => {
    expect(written({ run_id: "r1" })).toMatchObject({
      level: "info",
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
      service: "test",
      run_id: "r1",
      msg: "something happened",
    });
  });

  test("hides secrets by their names, two levels deep, however they are written", () => {
    const line = written({
      password: "p",
      Authorization: "Bearer t",
      headers: { cookie: "c", host: "h" },
      user: { refresh_token: "r", name: "n" },
    });
    expect(line).toMatchObject({
      password: "[redacted]",
      Authorization: "[redacted]",
      headers: { cookie: "[redacted]", host: "h" },
      user: { refresh_token: "[redacted]", name: "n" },
    });
  });

  test("leaves the caller's fields as they were", () => {
    const fields = { token: "t", nested: { key: "k" } };
    written(fields);
    expect(fields).toEqual({ token: "t", nested: { key: "k" } });
  });

  test("writes errors with their stack and cause, without attached objects", () => {
    const error = Object.assign(new Error("broken", { cause: new TypeError("inner") }), {
      code: "E1",
      client: { password: "p" },
    });
    const { err } = written({ err: error }) as { err: Record<string, string> };
    expect(Object.keys(err).sort()).toEqual(["cause", "code", "message", "stack", "type"]);
    expect(err).toMatchObject({ message: "broken", code: "E1", cause: "TypeError: inner" });
    expect(err.stack).toContain("logger.test.ts");
  });
});
