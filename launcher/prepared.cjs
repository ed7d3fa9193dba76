// Runs before the scripts of package.json, under whatever Node.js the system has: plain JavaScript of 2015, no imports but
// Node's own. It says in one sentence what the start itself would report as a missing module or a syntax error.
"use strict";

const { existsSync } = require("node:fs");
const { join } = require("node:path");

/** The oldest release of Node.js that runs TypeScript as this code needs it. */
const oldest = 24;

/**
 * The reason why a checkout cannot start, or undefined. `version` is the running Node.js's, without a `v`; npm scripts
 * run with the Node.js of node_modules where there is one.
 */
function faultOf(version, root) {
  const modules = join(root, "node_modules");
  if (!existsSync(join(modules, "@turnwright", "launcher"))) {
    return `Turnwright's packages are not installed: run npm ci first, in ${root}`;
  }
  if (Number(version.split(".")[0]) >= oldest) return undefined;
  const remedy = `run npm ci with install scripts allowed, which brings Node.js along, or start with Node.js ${oldest} or newer`;
  return `Turnwright needs Node.js ${oldest} or newer and this is ${version}: ${remedy}`;
}

module.exports = { faultOf };

if (require.main === module) {
  const fault = faultOf(process.versions.node, join(__dirname, ".."));
  if (fault !== undefined) {
    process.stderr.write(`${fault}\n`);
    process.exitCode = 1;
  }
}
