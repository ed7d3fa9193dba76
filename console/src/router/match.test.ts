import { expect, test } from "vitest";
import { createMatcher } from "./match.ts";

const match = createMatcher([
  { pattern: "runs", value: "runs" },
  { pattern: "runs/:run", value: "run" },
  { pattern: "agents/new", value: "new agent" },
  { pattern: "agents/:name", value: "agent" },
  { pattern: "agents/:name/diff/:versions", value: "diff" },
]);

test.each([
  ["runs", "runs", {}],
  ["runs/01a2", "run", { run: "01a2" }],
  ["agents/new", "new agent", {}],
  ["agents/a%2Fb%20c", "agent", { name: "a/b c" }],
  ["agents/http.request/diff/1..2", "diff", { name: "http.request", versions: "1..2" }],
  ["agents/%E0%A4%A", "agent", { name: "%E0%A4%A" }],
])("the path %s leads to a page and gives its fields", (path, value, params) => {
  expect(match(path)).toEqual({ value, params });
});

test.each(["", "run", "runs/1/2", "agents"])("the path %j leads nowhere", (path) => {
  expect(match(path)).toBe(undefined);
});
