import { readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { expect, test } from "vitest";
import { packageFolder, sandboxCommand } from "./launch.ts";
import { noWall } from "./wall.ts";

/** The files that a module loads, itself included; imports of types alone load nothing. */
function loadedBy(file: string, seen = new Set<string>()): Set<string> {
  if (seen.has(file)) return seen;
  seen.add(file);
  const source = readFileSync(file, "utf8").replaceAll(/^import type [^;]*;/gm, "");
  for (const [, specifier = ""] of source.matchAll(/(?:from |import\(|new URL\()"(\.[^"]+)"/g)) {
    loadedBy(resolve(dirname(file), specifier), seen);
  }
  return seen;
}

test("a sandbox may read exactly the files that its program loads, their package.json and zod", () => {
  const tool = join(import.meta.dirname, "javascript.ts");
  const command = sandboxCommand({ file: tool, readable: [tool] }, noWall, { heapMegabytes: 16, cpuSeconds: 1 });
  const readable = command.flatMap((word) => /^--allow-fs-read=(.*)$/.exec(word)?.[1] ?? []);
  const expected = [
    tool,
    ...loadedBy(join(import.meta.dirname, "child.ts")),
    resolve(import.meta.dirname, "../../package.json"),
    packageFolder("zod"),
  ];
  expect(readable.sort()).toEqual(expected.sort());
});
