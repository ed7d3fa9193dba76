/**
 * Regenerates everything that is made from the protos: `packages/contract/gen/` and `packages/contract/openapi.json`.
 *
 *     node packages/contract/tools/generate.ts            write what changed, remove what is no longer made
 *     node packages/contract/tools/generate.ts --check    write nothing; fail with the list of files that are not up to date
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buf, workspaceRoot } from "./buf.ts";
import { copyDrift, driftOf } from "./drift.ts";

const contract = "packages/contract";
const products = ["gen", "openapi.json"];

/** Generates into a directory of its own, so that what is committed is compared or replaced file by file. */
function withGenerated<T>(use: (directory: string) => T): T {
  const directory = mkdtempSync(join(tmpdir(), "turnwright-generate-"));
  try {
    const { ok, output } = buf(["generate", "--output", directory]);
    if (!ok) throw new Error(`buf generate failed:\n${output}`);
    return use(join(directory, contract));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function check(): void {
  const stale = withGenerated((generated) => driftOf(generated, join(workspaceRoot, contract), products));
  if (stale.length === 0) return;
  console.error(`Not what the protos say; run \`npm run generate\`:\n${stale.map((name) => `  ${contract}/${name}\n`).join("")}`);
  process.exitCode = 1;
}

/** Twice when something changed: the OpenAPI plugin reads the options through the generated code, which the first pass renews. */
function write(): void {
  for (let pass = 1; pass <= 2; pass++) {
    const changed = withGenerated((generated) => copyDrift(generated, join(workspaceRoot, contract), products));
    for (const name of changed) console.log(`${contract}/${name}`);
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
