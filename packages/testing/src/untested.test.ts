import { appendFileSync, existsSync } from "node:fs";
import { expect, test, vi } from "vitest";
import { isRequired, openUntestedList, reportUntested, untestedLine } from "./untested.ts";

test("skipped tests fail the run when everything must be tested", () => {
  expect(() => reportUntested("the thing", "Redis", true)).toThrow("NOT TESTED: the thing. There is no Redis");
});

test("CI demands every program except those that other tests stand in for", () => {
  expect([isRequired("Redis", true), isRequired("openai for Python", true), isRequired("Redis", false)]).toEqual([
    true,
    false,
    false,
  ]);
});

test("a run ends with one list of skipped tests, without duplicates", () => {
  const list = openUntestedList();
  const lines = [untestedLine("the docs", "Chromium"), untestedLine("the bus", "Redis"), untestedLine("the docs", "Chromium")];
  for (const line of lines) appendFileSync(list.file, `${line}\n`);
  const write = vi.fn();
  list.close(write);
  expect(write.mock.calls).toEqual([
    [
      expect.stringMatching(
        /^\nNot everything was tested on this machine:\n {2}NOT TESTED: the bus.*\n {2}NOT TESTED: the docs.*\n$/,
      ),
    ],
  ]);
  expect(existsSync(list.file)).toBe(false);
});

test("a run without skipped tests prints nothing", () => {
  const list = openUntestedList();
  const write = vi.fn();
  list.close(write);
  expect(write).not.toHaveBeenCalled();
});
