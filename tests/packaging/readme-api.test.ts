import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";

const root = join(import.meta.dirname, "../..");
const read = (path: string) => readFileSync(join(root, path), "utf8");

const verbs = ["GET", "POST", "PUT", "PATCH", "DELETE"];
/** Routes that the gateway serves about the contract, which are not part of it. */
const docs = new Set(["GET /swagger/index.html", "GET /openapi.json"]);

/** Route without the names of its variables: `GET /v1/runs/{}`. */
function route(verb: string, path: string): string {
  return `${verb.toUpperCase()} ${path.replaceAll(/\{[^}]*\}/g, "{}")}`;
}

/** Routes in the first two columns of a table: verbs and paths, in parts separated by a dot. */
function routesOf(table: string): string[] {
  return table.split("\n").flatMap((line) => {
    const [, firstVerbs = "", paths = ""] = line.split("|").map((cell) => cell.trim());
    if (!verbs.includes(firstVerbs.split(",", 1)[0] ?? "")) return [];
    return `${firstVerbs} ${paths}`.split(" · ").flatMap((part) => {
      const taken = verbs.filter((verb) => part.replaceAll(/`[^`]*`/g, "").includes(verb));
      return [...part.matchAll(/`([^`]+)`/g)].flatMap(([, path = ""]) => taken.map((verb) => route(verb, path)));
    });
  });
}

const [, table = ""] = /\n## API\n([\s\S]*?)\n## /.exec(read("README.md")) ?? [];
const listed = routesOf(table);
const contract = JSON.parse(read("packages/contract/openapi.json")) as { paths: Record<string, Record<string, unknown>> };
const routes = Object.entries(contract.paths).flatMap(([path, operations]) =>
  Object.keys(operations)
    .filter((verb) => verbs.includes(verb.toUpperCase()))
    .map((verb) => route(verb, path)),
);

describe("the README's table of routes", () => {
  test("has every route of the contract", () => {
    expect(routes.length).toBeGreaterThan(40);
    expect(routes.filter((one) => !listed.includes(one))).toEqual([]);
  });

  test("has no unknown route and none twice", () => {
    expect(listed.filter((one) => !routes.includes(one) && !docs.has(one))).toEqual([]);
    expect(listed.filter((one, index) => listed.indexOf(one) !== index)).toEqual([]);
  });
});
