/**
 * Checks the rules of the repository's layout and language (rules.ts): `npm run check`. Prints every breach and ends
 * with 1 when there is one.
 */
import { join } from "node:path";
import { rules } from "./rules.ts";
import { readSourceTree } from "./source-tree.ts";

const tree = readSourceTree(join(import.meta.dirname, "../.."));
let breaches = 0;
for (const { name, find } of rules) {
  const found = find(tree);
  if (found.length === 0) continue;
  breaches += found.length;
  console.error(`${name}: ${found.length}\n${found.map((breach) => `  ${breach}`).join("\n")}`);
}
console.log(`structure: ${tree.size} files, ${rules.length} rules, ${breaches} breaches`);
process.exitCode = breaches === 0 ? 0 : 1;
