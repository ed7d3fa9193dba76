export default {
  name: "read_file",
  description: "Read a file.",
  parameters: { type: "object", properties: { bytes: { type: "number" } }, required: ["bytes"] },
  effect: "read",
  timeoutMs: 10_000,
  version: "1",
  execute: ({ bytes }) => ({ first: "begin", text: "line of text ".repeat(bytes / 13), last: "end" }),
};
