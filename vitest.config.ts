import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";
import { LongestFirst } from "./tests/test-order.ts";
import { type TestProject, testProjects } from "./tests/test-projects.ts";
import { compileCache } from "./tests/tested-environment.ts";

const report = process.env.TURNWRIGHT_TEST_REPORT;
// Test processes start faster from compiled modules; the processes that tests start share them.
process.env.NODE_COMPILE_CACHE ??= compileCache;
/** Most tests wait more than they compute: there are more workers than processors. All projects share them. */
const maxWorkers = availableParallelism() + 1;
/** Files of the quick projects share a worker and its modules, which halves the time that they take. */
const isolate: Readonly<Record<TestProject, boolean>> = { unit: false, store: false, system: true };

export default defineConfig({
  test: {
    projects: Object.entries(testProjects(import.meta.dirname)).map(([name, include]) => ({
      extends: true,
      test: { name, include, isolate: isolate[name as TestProject], maxWorkers },
    })),
    globalSetup: ["./vitest.global-setup.ts"],
    sequence: { sequencer: LongestFirst },
    setupFiles: ["./packages/testing/src/loopback-only.ts"],
    pool: "forks",
    testTimeout: 20_000,
    hookTimeout: 60_000,
    reporters: report ? ["default", "json"] : ["default"],
    outputFile: report ? { json: report } : {},
  },
});
