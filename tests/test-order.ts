import { relative } from "node:path";
import { BaseSequencer, type TestSpecification } from "vitest/node";
import type { TestProject } from "./test-projects.ts";

/** The test files that take longest, the longest first: none of them may be the last one that the others wait for. */
export const longestFiles: readonly string[] = [
  "tests/e2e/recovery.test.ts",
  "tests/e2e/runs.test.ts",
  "tests/durability/replicas.test.ts",
  "tests/security/callers-mesh.test.ts",
  "tests/security/bad-input.test.ts",
  "tests/security/callers.test.ts",
  "packages/platform/src/embedded-postgres/embedded-postgres.test.ts",
  "tests/durability/slow-clients.test.ts",
  "tests/durability/kill-matrix.test.ts",
  "tests/e2e/mesh.test.ts",
  "tests/e2e/fallback.test.ts",
  "tests/e2e/long-history.test.ts",
  "tests/security/key-families.test.ts",
  "tests/upgrade/upgrade.test.ts",
  "services/tool-executor/src/sandbox/poison.test.ts",
  "tests/e2e/drain.test.ts",
  "tests/endpoints/clients.test.ts",
  "tests/security/connections.test.ts",
  "services/tool-executor/src/tools/run-javascript.test.ts",
  "tests/browser/examples.test.ts",
  "tests/e2e/mesh-stores.test.ts",
  "tests/security/route-matrix.test.ts",
  "packages/platform/src/ports/redis-outage.test.ts",
];

/** Systems wait while unit tests compute; the short files fill the time in which the last systems end. */
const order: readonly TestProject[] = ["system", "store", "unit"];

const placeIn = (list: readonly string[], name: string) => {
  const place = list.indexOf(name);
  return place === -1 ? list.length : place;
};

/** Orders files by project, then by the list; others keep their order. Paths are relative to the root. */
export function longestFirst<T extends { readonly project: string; readonly file: string }>(files: readonly T[]): T[] {
  return files.toSorted(
    (a, b) =>
      placeIn(order, a.project) - placeIn(order, b.project) || placeIn(longestFiles, a.file) - placeIn(longestFiles, b.file),
  );
}

/** Vitest's order, except that slow projects and files go first. A fresh clone has no recorded times to order by. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const specs = (await super.sort(files)).map((spec) => ({
      spec,
      project: spec.project.name,
      file: relative(this.ctx.config.root, spec.moduleId).replaceAll("\\", "/"),
    }));
    return longestFirst(specs).map(({ spec }) => spec);
  }
}
