import type { SecurityBreakages } from "./breakage.ts";

/** Guards on the input of clients. */
export const inputs: SecurityBreakages = {
  "json-depth": {
    file: "packages/platform/src/json/json-depth.ts",
    changes: [{ from: "if (depth > maxJsonDepth) return", to: "if (depth > Number.MAX_VALUE) return" }],
    suite: ["tests/security/input-limits.test.ts"],
    test: "nests 33 deep",
  },
  "nul-in-text": {
    file: "packages/platform/src/rpc/field-faults.ts",
    changes: [{ from: '(value as string).includes("\\0")', to: "false" }],
    suite: ["tests/security/bad-input.test.ts"],
    test: "in whatever field",
  },
};
