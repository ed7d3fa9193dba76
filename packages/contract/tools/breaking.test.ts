import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { copyWorkspace, type WorkspaceCopy } from "./workspace-copy.ts";

let copy: WorkspaceCopy;

function breaking(...args: string[]) {
  const script = join(copy.root, "packages/contract/tools/breaking.ts");
  const { status, stderr } = spawnSync(process.execPath, [script, ...args], { cwd: copy.root, encoding: "utf8" });
  return { status, stderr };
}

function edit(from: string, to: string) {
  const path = join(copy.root, "proto/turnwright/auth/v1/auth_service.proto");
  const before = readFileSync(path, "utf8");
  expect(before).toContain(from);
  writeFileSync(path, before.replace(from, to));
}

const removal = [
  "  // Display name, up to 200 characters.\n  string name = 3 [(buf.validate.field).string = {max_len: 200}];\n",
  "",
] as const;

describe("the contract's check", () => {
  beforeEach(() => {
    copy = copyWorkspace();
  });
  afterEach(() => copy.remove());

  test("passes the committed protos", () => {
    expect(breaking()).toEqual({ status: 0, stderr: "" });
  });

  test("refuses a removed field, and names it", () => {
    edit(...removal);
    const { status, stderr } = breaking();
    expect(status).toBe(1);
    expect(stderr).toMatch(/auth_service\.proto.*field "3" with name "name" on message "RegisterRequest" was deleted/);
  });

  test("passes a new field", () => {
    edit(removal[0], `${removal[0]}  // A note to the operator.\n  string note = 90;\n`);
    expect(breaking()).toEqual({ status: 0, stderr: "" });
  });

  test("refuses a field without a comment", () => {
    edit(removal[0], `${removal[0]}  string note = 90;\n`);
    const { status, stderr } = breaking();
    expect(status).toBe(1);
    expect(stderr).toMatch(/auth_service\.proto.*comment/i);
  });

  test("makes the protos of a release the new baseline", () => {
    edit(...removal);
    expect(breaking("--update").status).toBe(0);
    expect(breaking().status).toBe(0);
  });
});
