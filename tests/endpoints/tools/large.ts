import { defineTool } from "@turnwright/tool-executor/define-tool";
import { z } from "zod";

/** A tool with a result of any size. */
export default defineTool({
  name: "large",
  description: "Reads a file of this many characters.",
  parameters: z.object({ characters: z.number() }),
  effect: "read",
  timeoutMs: 4_000,
  version: "1",
  execute: ({ characters }) => ({ text: "x".repeat(characters) }),
});
