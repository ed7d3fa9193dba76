import { posix } from "node:path";
import { type SourceTree, sourcesOf } from "./source-tree.ts";

/** A graph of imports: for each node, the nodes that it names. */
export type Graph = ReadonlyMap<string, ReadonlySet<string>>;

const importedPath = /(?:\bfrom|\bimport)\s*\(?\s*["'](\.[^"']+)["']/g;

/** The relative imports among the product files of a package, `import type` and `import()` included. */
export function fileGraph(tree: SourceTree, folder: string): Graph {
  const files = sourcesOf(tree, folder);
  const known = new Set(files);
  const importsOf = (file: string) => {
    const found = [...(tree.get(file) ?? "").matchAll(importedPath)];
    const targets = found.map(([, path = ""]) => posix.normalize(posix.join(posix.dirname(file), path)));
    return new Set(targets.filter((target) => known.has(target)));
  };
  return new Map(files.map((file) => [file, importsOf(file)]));
}

/** The room of a file: its top folder below `src`, or the file itself where it stands alone. */
export function roomOf(file: string, folder: string): string {
  const [room = ""] = file.slice(`${folder}/src/`.length).split("/");
  return room;
}

/** The imports between the rooms of a package. */
export function roomGraph(files: Graph, folder: string): Graph {
  const rooms = new Map<string, Set<string>>();
  for (const [file, targets] of files) {
    const room = roomOf(file, folder);
    const arrows = rooms.get(room) ?? new Set();
    rooms.set(room, arrows);
    for (const target of targets) if (roomOf(target, folder) !== room) arrows.add(roomOf(target, folder));
  }
  return rooms;
}

/** Groups of nodes that reach each other (Tarjan), each after the groups that it names. */
function components(graph: Graph): string[][] {
  const order = new Map<string, number>();
  const low = new Map<string, number>();
  const open: string[] = [];
  const found: string[][] = [];
  const visit = (node: string): number => {
    const index = order.size;
    order.set(node, index);
    low.set(node, index);
    open.push(node);
    for (const next of graph.get(node) ?? []) {
      const reached = order.has(next) ? (open.includes(next) ? (order.get(next) ?? index) : index) : visit(next);
      low.set(node, Math.min(low.get(node) ?? index, reached));
    }
    if (low.get(node) === index) found.push(open.splice(open.indexOf(node)));
    return low.get(node) ?? index;
  };
  for (const node of graph.keys()) if (!order.has(node)) visit(node);
  return found;
}

/** The circles of a graph: groups of two or more nodes that import each other, directly or on a way. */
export function circlesOf(graph: Graph): string[][] {
  return components(graph)
    .filter((group) => group.length > 1)
    .map((group) => group.sort());
}

/** The height of a graph: a node stands one floor above the highest that it names; a circle is one floor. */
export function floorsOf(graph: Graph): number {
  const floors = new Map<string, number>();
  for (const group of components(graph)) {
    const below = group.flatMap((node) => [...(graph.get(node) ?? [])].map((next) => floors.get(next) ?? 0));
    const floor = 1 + Math.max(0, ...below);
    for (const node of group) floors.set(node, floor);
  }
  return Math.max(0, ...floors.values());
}

/** The number of arrows in a graph. */
export function arrowsOf(graph: Graph): number {
  return [...graph.values()].reduce((sum, targets) => sum + targets.size, 0);
}
