import type { SecurityBreakages } from "./breakage.ts";

/** Guards on what clients send. */
export const inputs: SecurityBreakages = {
  "json-depth": {
    file: "packages/platform/src/json-depth.ts",
    changes: [{ from: "if (depth > maxJsonDepth) return true;", to: "" }],
    suite: ["tests/security/input-limits.test.ts"],
    test: "nests 33 deep",
  },
};
