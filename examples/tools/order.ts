import { defineTool } from "@turnwright/tool-executor/define-tool";
import { z } from "zod";

/** The shop's address. Any API will do that can be asked for an order by our reference. */
const shopHost = "localhost:8088";
const shop = `http://${shopHost}/orders`;

const order = z.object({ id: z.string(), total: z.number() });

/**
 * An order must never be placed twice, so it carries the call's key as its reference. If the executor dies during a
 * call, the probe asks the shop for that reference. Without a probe, a person would have to find out.
 */
export default defineTool({
  name: "place_order",
  description: "Order an article from the shop.",
  parameters: z.object({ article: z.string().min(1), count: z.int().min(1).max(100).default(1) }),
  effect: "once",
  requiresApproval: true,
  timeoutMs: 10_000,
  version: "1",
  // A private address: start with TOOLS_ALLOWED_HOSTS=localhost:8088 as well.
  hosts: [shopHost],
  async execute({ article, count }, { signal, callKey }) {
    const response = await fetch(shop, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ article, count, reference: callKey }),
      signal,
    });
    if (!response.ok) throw new Error(`The shop refused the order: ${response.status}`);
    return order.parse(await response.json());
  },
  async probe(_args, { signal, callKey }) {
    const response = await fetch(`${shop}?reference=${encodeURIComponent(callKey)}`, { signal });
    if (!response.ok) return { status: "unknown" };
    const [found] = z.array(order).parse(await response.json());
    return found === undefined ? { status: "not_started" } : { status: "completed", output: found };
  },
});
