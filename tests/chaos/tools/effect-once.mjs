export default {
  name: "effect_once",
  description: "Does something outside that must not be done twice.",
  parameters: { type: "object", properties: { url: { type: "string" }, ms: { type: "integer" } }, required: ["url", "ms"] },
  effect: "once",
  timeoutMs: 20_000,
  version: "1",
  hosts: ["127.0.0.1"],
  async execute({ url, ms }, { callKey }) {
    await new Promise((resolve) => setTimeout(resolve, ms));
    const response = await fetch(url, { method: "POST", body: JSON.stringify({ tool: "effect_once", key: callKey }) });
    if (!response.ok) throw new Error(`the effect server answered ${response.status}`);
    await new Promise((resolve) => setTimeout(resolve, ms));
    return { done: callKey };
  },
};
