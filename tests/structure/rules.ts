import { circlesOf, fileGraph, roomGraph } from "./import-graph.ts";
import { isTest, packages, type SourceTree, services, sourcesOf } from "./source-tree.ts";

/** A rule of the house: `find` lists its breaches as `file:line: text`. */
export interface Rule {
  readonly name: string;
  readonly find: (tree: SourceTree) => string[];
}

const maxLines = 300;
const maxTestLines = 350;
const maxColumns = 120;

/** The lines of the files that `wanted` names, for which `isBreach` holds. */
function linesOf(
  tree: SourceTree,
  wanted: (file: string) => boolean,
  isBreach: (line: string, file: string) => boolean,
): string[] {
  return [...tree].flatMap(([file, text]) =>
    wanted(file)
      ? text.split("\n").flatMap((line, i) => (isBreach(line, file) ? [`${file}:${i + 1}: ${line.trim().slice(0, 100)}`] : []))
      : [],
  );
}

const productFolders = Object.values(packages);
const isProduct = (file: string) =>
  /\.tsx?$/.test(file) && !isTest(file) && productFolders.some((folder) => file.startsWith(`${folder}/src/`));

const sqlText =
  /(?:^|["'`(])\s*(?:select\s+[\w("'$*]|insert into \w|update \w+(?: \w+)? set |delete from \w|with \w+ as (?:materialized )?\(|alter \w+ \w|drop (?:table|role|schema|database|policy) |truncate \w|lock table |create (?:table|role|schema|database|unlogged|index) |pg_advisory)/;
const sqlRooms = [/^services\/[^/]+\/src\/store\//, /^packages\/platform\/src\/(?:embedded-)?postgres\//];

const isComment = (line: string) => /^\s*(?:\/\/|\/?\*)/.test(line);
/** The prose of a comment line or of a Markdown line; undefined for code, tables, headings and the like. */
function proseOf(line: string, file: string): string | undefined {
  if (file.endsWith(".md")) return /^\s*(?:[|#>]|```|\[\w|!\[|<)/.test(line) ? undefined : line;
  return isComment(line) ? line.replace(/^\s*(?:\/\/\/?|\/?\*+)\s?/, "") : undefined;
}

/** A file without what stands between the fences of its code blocks; line numbers stay. */
function withoutCodeBlocks(tree: SourceTree): SourceTree {
  const blank = (text: string) => {
    let isCode = false;
    const lines = text.split("\n").map((line) => {
      const isFence = /^\s*(?:\*\s*)?```/.test(line);
      const kept = isCode || isFence ? "" : line;
      if (isFence) isCode = !isCode;
      return kept;
    });
    return lines.join("\n");
  };
  return new Map([...tree].map(([file, text]) => [file, blank(text)]));
}

const bareOpening = /(?:^|[.;:] )(?:Who|What|Where|Whoever|Whatever|Wherever)\b(?! (?:is|are|does|do|can|may|to)\b[^.]*\?)/;
const serviceName = /["'](?:auth|conversation|agent-orchestrator|tool-executor|gateway)["']/;

/** The rules of the repository's layout and language. */
export const rules: readonly Rule[] = [
  {
    name: "SQL stands in a service's store/ or in platform's postgres/",
    find: (tree) =>
      linesOf(
        tree,
        (file) => isProduct(file) && !file.startsWith("packages/testing/") && !sqlRooms.some((room) => room.test(file)),
        (line) => !isComment(line) && sqlText.test(line),
      ),
  },
  {
    name: "a message of the bus for which nobody waits goes through send()",
    find: (tree) =>
      linesOf(
        tree,
        isProduct,
        (line) => !isComment(line) && /(?:^\s*|\bvoid\s+|[;{(?:&|]\s*)[\w.#]*(?:\(\)[\w.#]*)?\.publish\(/.test(line),
      ),
  },
  {
    name: "RPC handlers stand in handlers/",
    find: (tree) =>
      linesOf(
        tree,
        (file) => isProduct(file) && file.startsWith("services/") && !file.includes("/src/handlers/"),
        (line) => /\bServiceImpl<typeof /.test(line),
      ),
  },
  {
    name: `a file has at most ${maxLines} lines, a test at most ${maxTestLines}`,
    find: (tree) =>
      [...tree].flatMap(([file, text]) => {
        if (!/\.(tsx?|mjs)$/.test(file)) return [];
        const lines = text.split("\n").length - 1;
        return lines > (isTest(file) ? maxTestLines : maxLines) ? [`${file}: ${lines} lines`] : [];
      }),
  },
  {
    name: `comments and prose have at most ${maxColumns} columns`,
    find: (tree) =>
      linesOf(
        withoutCodeBlocks(tree),
        (file) => !file.startsWith("migrations/"),
        (line, file) => {
          const prose = proseOf(line, file);
          // A link cannot be broken.
          return prose !== undefined && line.length > maxColumns && !/\S{70}/.test(line);
        },
      ),
  },
  {
    name: "no sentence of a comment or of the docs begins with a bare who, what or where",
    find: (tree) =>
      linesOf(
        withoutCodeBlocks(tree),
        () => true,
        (line, file) => bareOpening.test(proseOf(line, file) ?? ""),
      ),
  },
  {
    name: "platform names no service, but for the two that identity.ts names",
    find: (tree) =>
      linesOf(
        tree,
        (file) =>
          isProduct(file) && file.startsWith("packages/platform/src/") && file !== "packages/platform/src/identity/identity.ts",
        (line) =>
          serviceName.test(line) || /@turnwright\/(?:auth|conversation|agent-orchestrator|tool-executor|gateway)\b/.test(line),
      ),
  },
  {
    name: "no file imports itself on a way through others",
    find: (tree) => productFolders.flatMap((folder) => circlesOf(fileGraph(tree, folder)).map((circle) => circle.join(" <-> "))),
  },
  {
    name: "no room imports itself on a way through others",
    find: (tree) =>
      productFolders.flatMap((folder) =>
        circlesOf(roomGraph(fileGraph(tree, folder), folder)).map((circle) => `${folder}: ${circle.join(" <-> ")}`),
      ),
  },
  {
    name: "test doubles and fixtures stand in testing/, outside of src",
    find: (tree) => [
      ...[...tree.keys()].filter((file) => /\/src\/.*(?:-fixture|\.contract|-double|-stub|-mock)\.ts$/.test(file)),
      ...linesOf(
        tree,
        (file) => isProduct(file) && !file.startsWith("packages/testing/"),
        (line) => /\bfrom "(?:@turnwright\/testing|(?:\.\.\/)+testing\/)/.test(line),
      ),
    ],
  },
  {
    name: "a test is called test, not it",
    find: (tree) =>
      linesOf(
        tree,
        (file) => file.endsWith(".ts"),
        (line) => /^\s*it(?:\.\w+)*\(/.test(line),
      ),
  },
  {
    name: "every service has main.ts, index.ts, config.ts and handlers/",
    find: (tree) =>
      services.flatMap((service) => {
        const src = `services/${service}/src`;
        const missing = ["main.ts", "index.ts", "config.ts"].filter((file) => !tree.has(`${src}/${file}`));
        const hasHandlers = [...tree.keys()].some((file) => file.startsWith(`${src}/handlers/`));
        return [...missing, ...(hasHandlers ? [] : ["handlers/"])].map((room) => `${src}/${room} is missing`);
      }),
  },
  {
    name: "platform exports only what other packages import",
    find: (tree) => {
      const used = new Set<string>();
      for (const [file, text] of tree) {
        if (file.startsWith("packages/platform/src/")) continue;
        for (const [, name = ""] of text.matchAll(/["'`]@turnwright\/platform\/([\w/-]+)["'`]/g)) used.add(name);
      }
      return sourcesOf(tree, packages.platform ?? "")
        .map((file) => file.slice("packages/platform/src/".length, -".ts".length))
        .filter((name) => exportsOfPlatform(tree).has(name) && !used.has(name))
        .map((name) => `@turnwright/platform/${name} is exported and nobody imports it`);
    },
  },
];

function exportsOfPlatform(tree: SourceTree): ReadonlySet<string> {
  const manifest = JSON.parse(tree.get("packages/platform/package.json") ?? "{}") as { exports?: Record<string, string> };
  return new Set(Object.keys(manifest.exports ?? {}).map((key) => key.slice("./".length)));
}
