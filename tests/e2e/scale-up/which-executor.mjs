import process from "node:process";

/** Tells the executor by which it was run: the parent of its process. */
export default {
  name: "which_executor",
  description: "Tells which executor runs this call.",
  parameters: { type: "object", properties: {} },
  effect: "read",
  timeoutMs: 10_000,
  version: "1",
  execute: () => process.ppid,
};
