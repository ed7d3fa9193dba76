import { expect, test } from "vitest";
import { arrowsOf, circlesOf, fileGraph, floorsOf, roomGraph } from "./import-graph.ts";
import { rules } from "./rules.ts";
import { type SourceTree, services } from "./source-tree.ts";

const orderly: SourceTree = new Map(
  services.flatMap((service) =>
    ["main.ts", "index.ts", "config.ts", "handlers/mounts.ts"].map((file) => [`services/${service}/src/${file}`, ""] as const),
  ),
);

/** The rules that a tree with these files breaks, and where. */
function breachesIn(files: Readonly<Record<string, string>>): Record<string, string[]> {
  const tree = new Map([...orderly, ...Object.entries(files)]);
  const found = rules.map(({ name, find }) => [name, find(tree)] as const);
  return Object.fromEntries(found.filter(([, breaches]) => breaches.length > 0));
}

test("structure: an orderly tree breaks no rule", () => {
  expect(breachesIn({})).toEqual({});
});

const lines = (count: number) => "\n".repeat(count);
const long = `// ${"word ".repeat(30)}\n`;

test.each([
  ["services/auth/src/users.ts", "const sql = `\n  select id from users`;", /^SQL/],
  ["gateway/src/server.ts", 'await pool.query("delete from users");', /^SQL/],
  ["services/auth/src/users.ts", "function impl(): ServiceImpl<typeof AuthService> {}", /^RPC handlers/],
  ["services/auth/src/users.ts", '  void this.#bus.publish("topic", "text");', /^a message of the bus/],
  ["services/auth/src/users.ts", "  deps.bus.publish(topic, text);", /^a message of the bus/],
  ["services/auth/src/users.ts", "  if (isNew) { bus.publish(topic, text).then(next); }", /^a message of the bus/],
  ["gateway/src/server.ts", lines(301), /^a file has at most/],
  ["gateway/src/server.test.ts", lines(351), /^a file has at most/],
  ["gateway/src/server.ts", long, /^comments and prose/],
  ["docs/runs.md", "word ".repeat(30), /^comments and prose/],
  ["proto/turnwright/a.proto", long, /^comments and prose/],
  ["gateway/src/server.ts", "// Runs end. What has ended stays.\n", /^no sentence/],
  ["docs/runs.md", "Who holds a key is known.\n", /^no sentence/],
  ["packages/platform/src/a.ts", 'const service = "conversation";', /^platform names no service/],
  ["packages/platform/src/a.ts", 'import { x } from "@turnwright/tool-executor";', /^platform names no service/],
  ["services/auth/src/users.test.ts", '  it("is refused", () => {});', /^a test is called test/],
  ["services/auth/src/auth-fixture.ts", "", /^test doubles/],
  ["services/auth/src/users.ts", 'import { fake } from "../testing/auth.ts";', /^test doubles/],
] as const)("structure: a breach in %s is found: %j", (file, text, rule) => {
  const breaches = breachesIn({ [file]: text });
  expect(Object.keys(breaches)).toEqual([expect.stringMatching(rule)]);
  expect(Object.values(breaches)[0]).toEqual([expect.stringMatching(`^${file}`)]);
});

test.each([
  ["services/auth/src/store/users.ts", 'const sql = "select id from users";'],
  ["gateway/src/server.test.ts", lines(350)],
  ["services/auth/src/users.ts", "// select id from users in one statement\n"],
  ["services/auth/src/users.ts", '  await bus.publish("topic", text);\n  return bus.publish("topic", text);\n'],
  ["services/auth/src/users.ts", "  const publish = (text) => bus.publish(topic, text);"],
  ["services/auth/src/handlers/users.ts", "function impl(): ServiceImpl<typeof AuthService> {}"],
  ["services/auth/src/users.test.ts", 'import { fake } from "../testing/auth.ts"; pool.query("select 1 from users");'],
  ["docs/runs.md", `| ${"cell ".repeat(40)} |\n# What is defended\n`],
  ["docs/runs.md", `\`\`\`\n${"word ".repeat(40)}\n\`\`\`\n`],
  ["docs/runs.md", `[a link](https://example.com/${"x".repeat(120)})\n`],
] as const)("structure: %s may hold %j", (file, text) => {
  expect(breachesIn({ [file]: text })).toEqual({});
});

test("structure: circles are found between files and between rooms, type imports included", () => {
  const files = {
    "gateway/src/a/one.ts": 'import type { Two } from "../b/two.ts";',
    "gateway/src/b/two.ts": 'import { three } from "./three.ts";',
    "gateway/src/b/three.ts": 'export { four } from "../a/four.ts";',
    "gateway/src/a/four.ts": "",
    "gateway/src/c.ts": 'const d = await import("./d.ts");',
    "gateway/src/d.ts": 'import "./c.ts";',
  };
  expect(breachesIn(files)).toEqual({
    "no file imports itself on a way through others": ["gateway/src/c.ts <-> gateway/src/d.ts"],
    "no room imports itself on a way through others": [
      expect.stringContaining("a <-> b"),
      expect.stringContaining("c.ts <-> d.ts"),
    ],
  });
});

test("structure: a service without its rooms is named", () => {
  const tree = new Map(orderly);
  tree.delete("services/auth/src/handlers/mounts.ts");
  tree.delete("services/auth/src/config.ts");
  const found = rules.flatMap(({ find }) => find(tree));
  expect(found).toEqual(["services/auth/src/config.ts is missing", "services/auth/src/handlers/ is missing"]);
});

test("structure: what platform exports and nobody imports is named", () => {
  const manifest = '{ "exports": { "./a": "./src/a.ts", "./b": "./src/b.ts" } }';
  const files = {
    "packages/platform/package.json": manifest,
    "packages/platform/src/a.ts": "",
    "packages/platform/src/b.ts": "",
    "gateway/src/server.ts": 'import { b } from "@turnwright/platform/b";',
  };
  expect(Object.values(breachesIn(files))).toEqual([["@turnwright/platform/a is exported and nobody imports it"]]);
});

test("structure: rooms, floors and arrows are counted", () => {
  const tree = new Map([
    ["gateway/src/main.ts", 'import "./server/server.ts";'],
    ["gateway/src/server/server.ts", 'import "./route.ts"; import "../config.ts";'],
    ["gateway/src/server/route.ts", 'import "../config.ts";'],
    ["gateway/src/config.ts", ""],
    ["gateway/src/config.test.ts", 'import "./main.ts";'],
  ]);
  const rooms = roomGraph(fileGraph(tree, "gateway"), "gateway");
  expect([rooms.size, floorsOf(rooms), arrowsOf(rooms), circlesOf(rooms)]).toEqual([3, 3, 2, []]);
});
