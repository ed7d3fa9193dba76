import { spawnSync } from "node:child_process";
import { appendFileSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { copyWorkspace, type WorkspaceCopy } from "./workspace-copy.ts";

let copy: WorkspaceCopy;

function generate(...args: string[]) {
  const script = join(copy.root, "packages/contract/tools/generate.ts");
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...args], { cwd: copy.root, encoding: "utf8" });
  return { status, stdout, stderr };
}

const inContract = (name: string) => join(copy.root, "packages/contract", name);
const surface = "gen/turnwright/errors/v1/surface_pb.ts";
const stale = "gen/turnwright/stale_pb.ts";

function replaceIn(path: string, from: string, to: string) {
  const before = readFileSync(join(copy.root, path), "utf8");
  expect(before).toContain(from);
  writeFileSync(join(copy.root, path), before.replaceAll(from, to));
}

describe("the generator", { timeout: 60_000 }, () => {
  beforeEach(() => {
    copy = copyWorkspace();
  });
  afterEach(() => copy.remove());

  test("finds the committed files up to date", () => {
    expect(generate("--check")).toEqual({ status: 0, stdout: "", stderr: "" });
  });

  test("lists each generated file that is changed, left over or missing, and repairs it only without --check", () => {
    appendFileSync(inContract(surface), "// by hand\n");
    writeFileSync(inContract(stale), "export {};\n");
    rmSync(inContract("openapi.json"));

    const { status, stderr } = generate("--check");
    expect(status).toBe(1);
    const names = [surface, stale, "openapi.json"].map((name) => `packages/contract/${name}`);
    expect(stderr.match(/packages\/contract\/\S+/g)).toEqual(names);
    expect(readFileSync(inContract(surface), "utf8")).toContain("// by hand");

    expect(generate()).toEqual({ status: 0, stdout: names.map((name) => `${name}\n`).join(""), stderr: "" });
    expect(existsSync(inContract(stale))).toBe(false);
    expect(readFileSync(inContract(surface), "utf8")).not.toContain("// by hand");
    expect(existsSync(inContract("openapi.json"))).toBe(true);
  });

  test("needs one run for changed protos, although the OpenAPI plugin reads options through generated code", () => {
    replaceIn("proto/turnwright/tool/v1/tool_service.proto", "/v1/tools/batch", "/v1/tools/many");
    replaceIn("proto/turnwright/errors/v1/reason.proto", '"RATE_LIMIT"', '"SLOW_DOWN"');
    expect(generate().status).toBe(0);
    const document = readFileSync(inContract("openapi.json"), "utf8");
    expect(document).toContain("/v1/tools/many");
    expect(document).toContain("SLOW_DOWN");
    expect(document).not.toContain('"RATE_LIMIT"');
  });

  test("names the file and line if the protos do not compile", () => {
    replaceIn("proto/turnwright/tool/v1/tool_service.proto", "message ListToolsRequest", "message");
    const { status, stderr } = generate("--check");
    expect(status).toBe(1);
    expect(stderr).toMatch(/tool_service\.proto:\d+/);
  });
});
