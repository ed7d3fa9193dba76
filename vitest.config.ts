import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";
import { type TestProject, testProjects } from "./tests/test-projects.ts";
import { compileCache } from "./tests/tested-environment.ts";

const report = process.env.TURNWRIGHT_TEST_REPORT;
// Test processes start faster from compiled modules; the processes that tests start share them.
process.env.NODE_COMPILE_CACHE ??= compileCache;
const cores = availableParallelism();
/** Most tests wait more than they compute: there are more workers than processors. */
const workers: Readonly<Record<TestProject, object>> = {
  // Files share a worker and its modules, which halves the time that they take; they go first.
  unit: { isolate: false, maxWorkers: cores + 2, sequence: { groupOrder: 0 } },
  store: { isolate: false, maxWorkers: cores + 2, sequence: { groupOrder: 0 } },
  system: { maxWorkers: cores + 1, sequence: { groupOrder: 1 } },
};

export default defineConfig({
  test: {
    projects: Object.entries(testProjects(import.meta.dirname)).map(([name, include]) => ({
      extends: true,
      test: { name, include, ...workers[name as TestProject] },
    })),
    globalSetup: ["./vitest.global-setup.ts"],
    setupFiles: ["./packages/testing/src/loopback-only.ts"],
    pool: "forks",
    testTimeout: 20_000,
    hookTimeout: 60_000,
    reporters: report ? ["default", "json"] : ["default"],
    outputFile: report ? { json: report } : {},
  },
});
