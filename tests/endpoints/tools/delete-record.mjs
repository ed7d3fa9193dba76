export default {
  name: "delete_record",
  description: "Delete a record.",
  parameters: {
    type: "object",
    properties: { id: { type: ["number", "string"] }, note: { type: "string" } },
    required: ["id"],
  },
  effect: "once",
  requiresApproval: true,
  timeoutMs: 5_000,
  version: "1",
  execute: ({ id }) => ({ deleted: id }),
};
