/**
 * Lints the protos and compares them with the last release's contract, `packages/contract/baseline.binpb`. Needs no
 * network.
 *
 *     node packages/contract/tools/breaking.ts             fail on lint errors and breaking changes
 *     node packages/contract/tools/breaking.ts --update    make the current protos the baseline
 *
 * Update only when a release is cut: deployed clients were built against the baseline. An updated baseline in any other
 * pull request hides a breaking change. Before the first release there are no such clients, and the baseline may follow
 * the protos.
 */
import { join } from "node:path";
import { buf } from "./buf.ts";

const baseline = join("packages/contract", "baseline.binpb");

function run(title: string, args: readonly string[]): void {
  const { ok, output } = buf(args);
  if (ok) return;
  console.error(`${title}:\n${output.trimEnd()}`);
  process.exitCode = 1;
}

run("buf lint", ["lint"]);
if (process.argv.includes("--update")) {
  // Only the module `proto`: buf compares as many modules as the image has, and the vendored ones must not be compared.
  run("buf build", ["build", "proto", "--exclude-source-info", "--output", baseline]);
} else {
  run("Breaking changes since the last release", ["breaking", "proto", "--against", baseline]);
}
