import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";

const root = join(import.meta.dirname, "../..");
const lockfiles = ["package-lock.json", "bench/peers/package-lock.json"];

describe("the lockfiles", () => {
  test.each(lockfiles)("%s contains no download URL", (file) => {
    expect(readFileSync(join(root, file), "utf8")).not.toMatch(/"resolved": "https?:/);
  });

  test("contain only install scripts that are approved or refused by name", () => {
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

describe("the installed packages", () => {
  test("are pinned: every dependency names one version", () => {
    const files = execFileSync("git", ["ls-files", "*package.json"], { cwd: root, encoding: "utf8" }).trim().split("\n");
    const loose = files.flatMap((file) => {
      const { dependencies = {}, devDependencies = {} } = JSON.parse(readFileSync(join(root, file), "utf8"));
      return Object.entries<string>({ ...dependencies, ...devDependencies })
        .filter(([, version]) => !/^(?:npm:[\w@/-]+@)?\d+\.\d+\.\d+(?:-[\w.]+)?$/.test(version))
        .map(([name, version]) => `${file}: ${name} ${version}`);
    });
    expect(loose).toEqual([]);
  });

  test("are listed in a software bill of materials", () => {
    const text = execFileSync("npm", ["run", "--silent", "sbom"], {
      cwd: root,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    const { bomFormat, components } = JSON.parse(text.slice(text.indexOf("{"))) as {
      bomFormat: string;
      components: { name: string; version: string; hashes?: unknown[] }[];
    };
    expect(bomFormat).toBe("CycloneDX");
    expect(components.length).toBeGreaterThan(50);
    expect(components.map((component) => component.name)).toEqual(
      expect.arrayContaining(["fastify", "pg", "jose", "argon2", "undici"]),
    );
  });
});

describe("the tree", () => {
  test("has no generated or local files in git", () => {
    const tracked = execFileSync("git", ["ls-files"], { cwd: root, encoding: "utf8" }).split("\n");
    expect(tracked.filter((file) => /(^|\/)(node_modules|\.turnwright|\.env)(\/|$)/.test(file))).toEqual([]);
  });
});
