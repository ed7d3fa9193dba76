import { join } from "node:path";
import { expect, test } from "vitest";
import { longestFiles, longestFirst } from "../test-order.ts";
import { testProjects } from "../test-projects.ts";

test("each file that goes first is a test of the slowest project", () => {
  const { system } = testProjects(join(import.meta.dirname, "../.."));
  expect(longestFiles.filter((file) => !system.includes(file))).toEqual([]);
});

test("systems go first, the longest of them before all others, and unit tests last", () => {
  const [longest = "", second = ""] = longestFiles;
  const files = [
    { project: "unit", file: "a.test.ts" },
    { project: "system", file: "b.test.ts" },
    { project: "store", file: "c.test.ts" },
    { project: "system", file: second },
    { project: "system", file: longest },
    { project: "system", file: "d.test.ts" },
  ];
  expect(longestFirst(files).map(({ file }) => file)).toEqual([
    longest,
    second,
    "b.test.ts",
    "d.test.ts",
    "c.test.ts",
    "a.test.ts",
  ]);
});
