import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["{packages,services,gateway,launcher,tests}/**/*.test.ts"],
    exclude: ["**/node_modules/**"],
    pool: "forks",
    testTimeout: 20_000,
    hookTimeout: 60_000,
  },
});
