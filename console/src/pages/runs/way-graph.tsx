import { chainText, type GraphNode, type Way } from "./way.ts";

const places: Readonly<Record<GraphNode, readonly [x: number, y: number]>> = {
  router: [50, 30],
  think: [190, 30],
  approve: [330, 30],
  act: [470, 30],
  observe: [610, 30],
  response: [750, 30],
};
const halfWidth = 46;
const halfHeight = 14;

/** The edges of the graph; those that are not straight run below the nodes, at this depth. */
const edges: readonly { readonly from: GraphNode; readonly to: GraphNode; readonly depth: number }[] = [
  { from: "router", to: "think", depth: 0 },
  { from: "think", to: "approve", depth: 0 },
  { from: "approve", to: "act", depth: 0 },
  { from: "act", to: "observe", depth: 0 },
  { from: "think", to: "act", depth: 40 },
  { from: "observe", to: "think", depth: 70 },
  { from: "think", to: "response", depth: 100 },
];

function pathOf(from: GraphNode, to: GraphNode, depth: number): { d: string; x: number; y: number } {
  const [x1, y1] = places[from];
  const [x2, y2] = places[to];
  if (depth === 0) return { d: `M${x1 + halfWidth} ${y1}L${x2 - halfWidth} ${y2}`, x: (x1 + x2) / 2, y: y1 - 6 };
  const low = y1 + halfHeight + depth;
  const aside = depth / 10;
  const [a, b] = [x1 + (x2 > x1 ? aside : -aside), x2 + (x2 > x1 ? -aside : aside)];
  return { d: `M${a} ${y1 + halfHeight}L${a} ${low}L${b} ${low}L${b} ${y2 + halfHeight}`, x: (a + b) / 2, y: low - 4 };
}

const widthOf = (count: number) => (count > 9 ? 3 : count > 2 ? 2 : 1);

/** The graph of a run with the way that it took: counts on the edges, those not passed are dotted. */
export function WayGraph({ way }: { readonly way: Way }) {
  return (
    <figure class="way">
      <svg viewBox="0 0 800 160" role="img" aria-label={`The way of the run: ${chainText(way)}`}>
        {edges.map(({ from, to, depth }) => {
          const count = way.edges[`${from}>${to}`] ?? 0;
          const { d, x, y } = pathOf(from, to, depth);
          return (
            <g key={`${from}>${to}`} class={count > 0 ? "way-edge" : "way-edge way-unused"}>
              <path d={d} fill="none" stroke="currentColor" stroke-width={widthOf(count)} />
              {count > 0 && (
                <text x={x} y={y} text-anchor="middle">
                  {count}
                </text>
              )}
            </g>
          );
        })}
        {Object.entries(places).map(([node, [x, y]]) => {
          const visits = way.visits[node as GraphNode];
          return (
            <g key={node} class={visits > 0 ? "way-node" : "way-node way-unused"}>
              <rect x={x - halfWidth} y={y - halfHeight} width={halfWidth * 2} height={halfHeight * 2} rx="14" />
              <text x={x} y={y + 4} text-anchor="middle">
                {visits > 1 ? `${node} ×${visits}` : node}
              </text>
            </g>
          );
        })}
      </svg>
      <figcaption class="way-chain">{chainText(way)}</figcaption>
    </figure>
  );
}
