import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { breakages as chaosBreakages } from "../../chaos/breakages.ts";
import { securityBreakages } from "./index.ts";

const root = join(import.meta.dirname, "../../..");
const read = (file: string) => readFileSync(join(root, file), "utf8");

test.each(Object.entries({ ...chaosBreakages, ...securityBreakages }))(
  "the code still contains the passage that the breakage %s replaces",
  (_name, { file, changes }) => {
    const source = read(file);
    for (const { from, to } of changes) {
      expect([from, source.split(from).length - 1]).toEqual([from, 1]);
      expect(to).not.toBe(from);
    }
  },
);

test.each(Object.entries(securityBreakages))("the suite that must notice %s exists", (_name, { suite }) => {
  expect(suite.length).toBeGreaterThan(0);
  for (const file of suite) expect(read(file)).not.toBe("");
});
