/**
 * Prints the rooms, floors, import arrows and circles of every package: `npm run structure`. A room is a top folder
 * below `src`, or a file that stands alone there; tests do not count.
 */
import { join } from "node:path";
import { arrowsOf, circlesOf, fileGraph, floorsOf, roomGraph } from "./import-graph.ts";
import { packages, readSourceTree } from "./source-tree.ts";

const root = process.argv[2] ?? join(import.meta.dirname, "../..");
const tree = readSourceTree(root);
console.log("| Package | Files | Rooms | Floors | Arrows | Circles of rooms | Circles of files |");
console.log("|---|---|---|---|---|---|---|");
for (const [name, folder] of Object.entries(packages)) {
  const files = fileGraph(tree, folder);
  const rooms = roomGraph(files, folder);
  const figures = [files.size, rooms.size, floorsOf(rooms), arrowsOf(rooms), circlesOf(rooms).length, circlesOf(files).length];
  console.log(`| ${name} | ${figures.join(" | ")} |`);
}
