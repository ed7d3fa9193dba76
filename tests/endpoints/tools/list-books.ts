import { defineTool } from "@turnwright/tool-executor/define-tool";
import { z } from "zod";

/** A tool without arguments. */
export default defineTool({
  name: "list_books",
  description: "Lists books.",
  parameters: z.object({}),
  effect: "read",
  timeoutMs: 2_000,
  version: "1",
  execute: () => ({ books: ["Emma"] }),
});
