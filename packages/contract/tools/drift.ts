import { cpSync, existsSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";

function filesUnder(root: string, product: string): string[] {
  const path = join(root, product);
  if (!existsSync(path)) return [];
  if (statSync(path).isFile()) return [product];
  return readdirSync(path).flatMap((name) => filesUnder(root, join(product, name)));
}

function same(left: string, right: string): boolean {
  return existsSync(left) && existsSync(right) && readFileSync(left).equals(readFileSync(right));
}

/**
 * Files that differ between `generated` and `committed`: changed, missing, or committed but no longer generated. Paths
 * are relative to both directories and sorted. `products` are the files and folders to compare.
 */
export function driftOf(generated: string, committed: string, products: readonly string[]): string[] {
  const names = products.flatMap((product) => [...filesUnder(generated, product), ...filesUnder(committed, product)]);
  return [...new Set(names)].filter((name) => !same(join(generated, name), join(committed, name))).sort();
}

/** Makes `committed` equal to `generated`. Returns the files that differed, as `driftOf` does. */
export function copyDrift(generated: string, committed: string, products: readonly string[]): string[] {
  const names = driftOf(generated, committed, products);
  for (const name of names) {
    if (existsSync(join(generated, name))) cpSync(join(generated, name), join(committed, name));
    else rmSync(join(committed, name));
  }
  return names;
}
