/**
 * Connect's conformance suite against both planes: `npm run conformance`. Needs its runner on PATH:
 *
 *     go install connectrpc.com/conformance/cmd/connectconformance@v1.0.7
 *
 *   npm run conformance                    all three
 *   npm run conformance -- mesh-server     some of them: public-server, mesh-server, mesh-client
 *
 * A case of `<name>.known-failing.txt` must fail, every other must pass; the command exits with 1 otherwise, and with 2
 * where the runner is missing.
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";

const runner = "connectconformance";
const names = ["public-server", "mesh-server", "mesh-client"];
const here = import.meta.dirname;

const asked = process.argv.length > 2 ? process.argv.slice(2) : names;
const unknown = asked.filter((name) => !names.includes(name));
if (unknown.length > 0) {
  console.error(`Unknown: ${unknown.join(", ")}; known: ${names.join(", ")}.`);
  process.exit(2);
}
const failed: string[] = [];
for (const name of asked) {
  console.log(`\n== ${name}`);
  const options = ["--mode", name.endsWith("client") ? "client" : "server", "--conf", join(here, `${name}.yaml`)];
  options.push("--known-failing", `@${join(here, `${name}.known-failing.txt`)}`, "--max-servers", "1");
  const { status, error } = spawnSync(runner, [...options, "--", process.execPath, join(here, `${name}.ts`)], {
    stdio: ["ignore", "inherit", "inherit"],
  });
  if ((error as NodeJS.ErrnoException | undefined)?.code === "ENOENT") {
    console.error(`Not tested: ${runner} is not on PATH. docs/conformance.md says how to install it.`);
    process.exit(2);
  }
  if (status !== 0) failed.push(name);
}
console.log(failed.length === 0 ? "\nAll cases are as expected." : `\nNot as expected: ${failed.join(", ")}`);
process.exitCode = failed.length === 0 ? 0 : 1;
