import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";
import { testProjects } from "./tests/test-projects.ts";

const report = process.env.TURNWRIGHT_TEST_REPORT;

export default defineConfig({
  test: {
    projects: Object.entries(testProjects(import.meta.dirname)).map(([name, include]) => ({
      extends: true,
      test: { name, include },
    })),
    globalSetup: ["./vitest.global-setup.ts"],
    setupFiles: ["./packages/testing/src/loopback-only.ts"],
    pool: "forks",
    // Most files wait for processes more than they compute.
    maxWorkers: availableParallelism() + 1,
    testTimeout: 20_000,
    hookTimeout: 60_000,
    reporters: report ? ["default", "json"] : ["default"],
    outputFile: report ? { json: report } : {},
  },
});
