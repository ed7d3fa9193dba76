import { randomInt } from "node:crypto";
import { defineTool } from "@turnwright/tool-executor/define-tool";
import { z } from "zod";

/** An example of a custom tool: start with `TOOLS_DIR=examples/tools` and ask for a roll of the dice. */
export default defineTool({
  name: "roll_dice",
  description: "Roll dice and return each roll and their sum.",
  parameters: z.object({
    count: z.int().min(1).max(100).default(1).describe("How many dice"),
    sides: z.int().min(2).max(1_000).default(6).describe("Sides of each"),
  }),
  effect: "read",
  timeoutMs: 1_000,
  version: "1",
  execute({ count, sides }) {
    const rolls = Array.from({ length: count }, () => randomInt(1, sides + 1));
    return { rolls, sum: rolls.reduce((sum, roll) => sum + roll, 0) };
  },
});
