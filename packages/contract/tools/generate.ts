/**
 * Regenerates everything that comes from the protos: `packages/contract/gen/`, `packages/contract/openapi.json` and
 * `docs/errors.md`.
 *
 *     node packages/contract/tools/generate.ts            write changed files, remove those no longer generated
 *     node packages/contract/tools/generate.ts --check    write nothing; fail with the list of stale files
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buf, workspaceRoot } from "./buf.ts";
import { copyDrift, driftOf } from "./drift.ts";

const products = ["packages/contract/gen", "packages/contract/openapi.json", "docs/errors.md"];

/** Generates into a temporary directory, so that committed files can be compared or replaced one by one. */
function withGenerated<T>(use: (directory: string) => T): T {
  const directory = mkdtempSync(join(tmpdir(), "turnwright-generate-"));
  try {
    const { ok, output } = buf(["generate", "--output", directory]);
    if (!ok) throw new Error(`buf generate failed:\n${output}`);
    return use(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function check(): void {
  const stale = withGenerated((generated) => driftOf(generated, workspaceRoot, products));
  if (stale.length === 0) return;
  console.error(`Stale; run \`npm run generate\`:\n${stale.map((name) => `  ${name}\n`).join("")}`);
  process.exitCode = 1;
}

/** A second pass when something changed: the plugins read options through generated code that the first pass renews. */
function write(): void {
  for (let pass = 1; pass <= 2; pass++) {
    const changed = withGenerated((generated) => copyDrift(generated, workspaceRoot, products));
    for (const name of changed) console.log(name);
    if (changed.length === 0) return;
  }
}

try {
  if (process.argv.includes("--check")) check();
  else write();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
