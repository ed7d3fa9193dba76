export default {
  name: "effect_again",
  description: "Does something outside that may be done again under its key.",
  parameters: { type: "object", properties: { url: { type: "string" }, ms: { type: "integer" } }, required: ["url", "ms"] },
  effect: "idempotent",
  timeoutMs: 20_000,
  version: "1",
  hosts: ["127.0.0.1"],
  async execute({ url, ms }, { callKey }) {
    await new Promise((resolve) => setTimeout(resolve, ms));
    const response = await fetch(url, { method: "POST", body: JSON.stringify({ tool: "effect_again", key: callKey }) });
    if (!response.ok) throw new Error(`the effect server answered ${response.status}`);
    await new Promise((resolve) => setTimeout(resolve, ms));
    return { done: callKey };
  },
};
