import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

const root = join(import.meta.dirname, "../..");
const lockfiles = ["package-lock.json", "bench/peers/package-lock.json"];

describe("the lockfiles", () => {
  it.each(lockfiles)("%s names no download address", (file) => {
    expect(readFileSync(join(root, file), "utf8")).not.toMatch(/"resolved": "https?:/);
  });

  it("list every package with an install script that is approved or refused by name", () => {
    const lock = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as {
      packages: Record<string, { hasInstallScript?: boolean; optional?: boolean }>;
    };
    const { allowScripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
      allowScripts: Record<string, boolean>;
    };
    const withScripts = Object.entries(lock.packages)
      .filter(([path, entry]) => path !== "" && entry.hasInstallScript)
      .map(([path]) => path.replace(/^.*node_modules\//, ""));
    expect(withScripts.filter((name) => !(name in allowScripts))).toEqual([]);
  });
});

describe("the tree", () => {
  it("keeps what is made at run time out of git", () => {
    const tracked = execFileSync("git", ["ls-files"], { cwd: root, encoding: "utf8" }).split("\n");
    expect(tracked.filter((file) => /(^|\/)(node_modules|\.turnwright|\.env)(\/|$)/.test(file))).toEqual([]);
  });
});
