import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";

/** The parts of the test suite, from the quickest to the slowest. */
export type TestProject = "unit" | "store" | "system";

/** Tests that start processes: whole systems, parts of the product, tools, stores of their own, steps of the build. */
const systemTests = [
  /^console\/(?!src\/)/,
  /^tests\/(?!structure\/|docs\/)/,
  /^packages\/(?:contract|platform)\/tools\//,
  /^packages\/platform\/src\/(?:embedded-postgres\/|process\/|ports\/redis-outage)/,
  /^services\/tool-executor\/src\/(?:sandbox\/|registry\/custom-tools|tools\/run-javascript)/,
];

const asksForStore = /["'](?:@turnwright\/testing|\.)\/(?:database|redis|redis-server|stores|store-servers)(?:\.ts)?["']/;
const importedPath = /(?:\bfrom|\bimport)\s*\(?\s*["'](\.[^"']+\.tsx?)["']/g;
/** Only these lead from a test to a store: what the product imports is no business of the test's. */
const isOfTests = (file: string) => /\.test\.ts$|(?:^|\/)testing\/|^tests\//.test(file);

/** Whether a test or a double that it imports asks for the run's PostgreSQL or Redis. */
function needsStore(root: string, file: string, seen = new Set<string>()): boolean {
  if (seen.has(file)) return false;
  seen.add(file);
  const text = readFileSync(join(root, file), "utf8");
  if (asksForStore.test(text)) return true;
  const imported = [...text.matchAll(importedPath)].map(([, path = ""]) =>
    relative(root, join(root, dirname(file), path)).replaceAll("\\", "/"),
  );
  return imported.some((next) => isOfTests(next) && existsSync(join(root, next)) && needsStore(root, next, seen));
}

/**
 * Every test file of the repository, by project: `unit` needs nothing, `store` asks for PostgreSQL or Redis, `system`
 * starts processes. Paths are relative to `root`.
 */
export function testProjects(root: string): Readonly<Record<TestProject, string[]>> {
  const files = globSync("{packages,services,gateway,launcher,console,tests}/**/*.test.{ts,tsx}", {
    cwd: root,
    exclude: (name) => name === "node_modules" || name.includes("/node_modules"),
  });
  const projects: Record<TestProject, string[]> = { unit: [], store: [], system: [] };
  for (const file of files.map((path) => path.replaceAll("\\", "/")).sort()) {
    if (systemTests.some((folder) => folder.test(file))) projects.system.push(file);
    else projects[needsStore(root, file) ? "store" : "unit"].push(file);
  }
  return projects;
}
