import type { RunStep } from "../../api/types.ts";

/** The nodes of the graph, in the order in which they are drawn. */
export const graphNodes = ["router", "think", "approve", "act", "observe", "response"] as const;
/** A node of the graph. */
export type GraphNode = (typeof graphNodes)[number];

/** The way that a run took: how often it passed each node, and each edge between two of them. */
export interface Way {
  readonly visits: Readonly<Record<GraphNode, number>>;
  /** By `from>to`. */
  readonly edges: Readonly<Record<string, number>>;
}

/** Reads the way of a run from its steps. */
export function wayOf(steps: readonly RunStep[], isCompleted: boolean): Way {
  const visits: Record<GraphNode, number> = { router: 0, think: 0, approve: 0, act: 0, observe: 0, response: 0 };
  const edges: Record<string, number> = {};
  const pass = (from: GraphNode, to: GraphNode, count = 1) => {
    if (count > 0) edges[`${from}>${to}`] = (edges[`${from}>${to}`] ?? 0) + count;
  };
  const calls = steps.filter(({ kind }) => kind === "tool");
  const waits = steps.filter(({ kind }) => kind === "approval");
  const thoughts = steps.filter(({ kind, status }) => kind === "model" && status !== "interrupted" && status !== "failed");
  visits.router = steps.filter(({ kind }) => kind === "router").length;
  visits.think = thoughts.length;
  visits.approve = waits.length;
  visits.act = calls.filter(({ started_at }) => started_at !== null).length;
  if (visits.router > 0 && visits.think > 0) pass("router", "think");
  thoughts.forEach((thought, index) => {
    const own = calls.filter(({ parent_id }) => parent_id === thought.id);
    const held = own.filter(({ id }) => waits.some(({ parent_id }) => parent_id === id)).length;
    const isLast = index === thoughts.length - 1;
    if (own.length === 0) {
      if (isLast && isCompleted) {
        visits.response = 1;
        pass("think", "response");
      }
      return;
    }
    pass("think", "approve", held);
    pass(
      "approve",
      "act",
      own.filter(({ id, started_at }) => started_at !== null && waits.some(({ parent_id }) => parent_id === id)).length,
    );
    pass("think", "act", own.length - held);
    if (own.some(({ ended_at }) => ended_at === null)) return;
    visits.observe += 1;
    pass("act", "observe", own.length);
    if (!isLast) pass("observe", "think");
  });
  return { visits, edges };
}

/** The way as a chain, for narrow screens and readers: `router, think × 2, approve, act, response`. */
export function chainText({ visits }: Way): string {
  return graphNodes
    .filter((node) => visits[node] > 0)
    .map((node) => (visits[node] > 1 ? `${node} × ${visits[node]}` : node))
    .join(" → ");
}
