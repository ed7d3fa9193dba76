/** Takes effect outside at once and returns when the effect server answers. */
export default {
  name: "place_order",
  description: "Place an order outside, which must not happen twice.",
  parameters: { type: "object", properties: { url: { type: "string" }, note: { type: "string" } }, required: ["url", "note"] },
  effect: "once",
  timeoutMs: 30_000,
  version: "1",
  hosts: ["127.0.0.1"],
  async execute({ url, note }, { callKey, signal }) {
    const response = await fetch(url, { method: "POST", body: `${note} ${callKey}`, signal });
    return { order: callKey, said: await response.text() };
  },
};
