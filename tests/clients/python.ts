import { execFile, execFileSync } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Lacking, reportUntested } from "@turnwright/testing/untested";
import { describe, expect, test } from "vitest";
import type { ClientStage } from "./stage.ts";

const folder = join(import.meta.dirname, "python");

/** Scripts by the Python package that they need. */
const scripts: Readonly<Record<string, { lacking: Lacking; script: string }>> = {
  openai: { lacking: "openai for Python", script: "test_openai.py" },
  langchain_openai: { lacking: "langchain-openai for Python", script: "test_langchain.py" },
};

function isInstalled(name: string): boolean {
  try {
    execFileSync("python3", ["-c", `import ${name}`], { stdio: "ignore", timeout: 30_000 });
    return true;
  } catch {
    return false;
  }
}

/** Environment of a script: its own settings, and none of a proxy's or a tracing service's. */
function environmentOf(stage: ClientStage): Record<string, string> {
  return {
    PATH: process.env.PATH ?? "",
    PYTHONDONTWRITEBYTECODE: "1",
    NO_PROXY: "*",
    LANGSMITH_TRACING: "false",
    TURNWRIGHT_URL: stage.url,
    TURNWRIGHT_KEY: stage.key,
    TURNWRIGHT_LIMITED_KEY: stage.limitedKey,
  };
}

/** Tests of unmodified Python clients, where they are installed. */
export function describePython(name: string, stageOf: () => ClientStage): void {
  describe(name, () => {
    for (const [library, { lacking, script }] of Object.entries(scripts)) {
      const isHere = isInstalled(library);
      if (!isHere) reportUntested(`the Python client ${library} against the system`, lacking);
      test.skipIf(!isHere)(`${library} passes ${script}`, { timeout: 60_000 }, async () => {
        const run = promisify(execFile)("python3", ["-m", "unittest", script], {
          cwd: folder,
          env: environmentOf(stageOf()),
          timeout: 50_000,
        });
        const { stderr } = await run.catch((error: { stderr?: string }) => ({ stderr: error.stderr ?? String(error) }));
        expect(stderr).toMatch(/\nOK\n$/);
        expect(stderr).toMatch(/\nRan [1-9]\d* tests? in /);
      });
    }
  });
}
