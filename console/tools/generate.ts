/**
 * Writes the types of the console's requests from `packages/contract/openapi.json`.
 *
 *     node console/tools/generate.ts            write console/src/api/types.ts
 *     node console/tools/generate.ts --check    write nothing; fail when the file is stale
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type ApiDocument, apiTypes } from "./api-types.ts";

const root = join(import.meta.dirname, "../..");
const target = join(root, "console/src/api/types.ts");
const document = JSON.parse(readFileSync(join(root, "packages/contract/openapi.json"), "utf8")) as ApiDocument;
const text = apiTypes(document);
const isStale = !existsSync(target) || readFileSync(target, "utf8") !== text;
if (isStale && process.argv.includes("--check")) {
  process.stderr.write("Stale; run `npm run generate`:\n  console/src/api/types.ts\n");
  process.exitCode = 1;
} else if (isStale) {
  writeFileSync(target, text);
  process.stdout.write("console/src/api/types.ts\n");
}
