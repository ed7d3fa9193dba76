import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { meshSecret } from "./mesh-secret.ts";

const dir = mkdtempSync(join(tmpdir(), "turnwright-secret-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

test("the mesh's secret is made once, for its owner's eyes only, unless one is given", () => {
  const made = meshSecret({}, join(dir, "new"));
  expect(made.length).toBeGreaterThan(32);
  expect(meshSecret({}, join(dir, "new"))).toBe(made);
  expect(statSync(join(dir, "new", "mesh.secret")).mode & 0o777).toBe(0o600);
  expect(meshSecret({ MESH_SECRET: "given" }, "/nowhere")).toBe("given");
});

test("a data directory that cannot hold the mesh's secret is refused with its variable", () => {
  const file = join(dir, "file");
  writeFileSync(file, "");
  const refusal = (words: string) =>
    expect.objectContaining({ faults: [expect.stringMatching(`^TURNWRIGHT_DATA_DIR: .*${words}`)] });
  const caught = (dataDir: string) => {
    try {
      return meshSecret({}, dataDir);
    } catch (error) {
      return error;
    }
  };
  expect(caught(file)).toEqual(refusal("is a file instead of a directory"));
  expect(caught("/sys/turnwright")).toEqual(refusal("cannot be used by the user of this process"));
});
