/**
 * Lints the protos and compares them with the contract of the last release, `packages/contract/baseline.binpb`. Needs no network.
 *
 *     node packages/contract/tools/breaking.ts             fail on lint faults and on changes that break clients
 *     node packages/contract/tools/breaking.ts --update    make the present protos the baseline
 *
 * Update when a release is cut and at no other time: the baseline is what clients in the field were built against. An updated
 * baseline in a pull request that is not a release says that the pull request hides a break. Until the first release nobody can be
 * broken, so that the baseline may follow the protos.
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
  // Only our own module: a comparison takes as many modules as the image has, and the vendored ones are not ours to break.
  run("buf build", ["build", "proto", "--exclude-source-info", "--output", baseline]);
} else {
  run("Breaks clients of the last release", ["breaking", "proto", "--against", baseline]);
}
