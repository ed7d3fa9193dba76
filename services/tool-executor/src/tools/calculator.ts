import { z } from "zod";
import { defineTool } from "../tool-definition/define-tool.ts";
import { evaluate } from "./arithmetic.ts";

/** Returns `{expression, result}`, or `{expression, error}` for an expression without a value. */
export const calculator = defineTool({
  name: "calculator",
  description:
    "Evaluate an arithmetic expression with numbers, + - * /, parentheses and unary minus. " +
    "Use it for every calculation instead of reckoning yourself.",
  parameters: z.object({
    expression: z.string().describe("The expression, for example (1337 * 42) / 7"),
  }),
  effect: "read",
  timeoutMs: 1_000,
  version: "1",
  execute({ expression }) {
    const value = evaluate(expression);
    return typeof value === "number" ? { expression, result: value } : { expression, error: value.error };
  },
});
