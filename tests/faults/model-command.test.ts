import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { testedEnvironment } from "../tested-environment.ts";

const root = join(import.meta.dirname, "../..");

test("npm run model prints the address of an endpoint, and ends when it is told to", async () => {
  const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { scripts: Record<string, string> };
  const [command, script = ""] = (scripts.model ?? "").split(" ");
  expect(command).toBe("node");
  const env = { PATH: process.env.PATH ?? "", ...testedEnvironment() };
  const child = spawn(process.execPath, [join(root, script), "--port", "0", "--strict", "--key", "sk-1"], { env });
  const ended = once(child, "exit");
  try {
    const [line] = await once(child.stdout, "data");
    const url = String(line).trim();
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/v1$/);
    expect((await fetch(`${url}/models`)).status).toBe(401);
    const { data } = (await (await fetch(`${url}/models`, { headers: { authorization: "Bearer sk-1" } })).json()) as {
      data: object[];
    };
    expect(data.length).toBeGreaterThan(100);
  } finally {
    child.kill("SIGTERM");
  }
  expect(await ended).toEqual([0, null]);
});

test("npm run model refuses an odd port with words", async () => {
  const env = { PATH: process.env.PATH ?? "", ...testedEnvironment() };
  const child = spawn(process.execPath, [join(root, "packages/testing/tools/model.ts"), "--port", "many"], { env });
  const ended = once(child, "exit");
  const [words] = await once(child.stderr, "data");
  expect(String(words)).toContain("--port");
  expect(await ended).toEqual([2, null]);
});
