import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { testedEnvironment } from "../../tested-environment.ts";
import type { SecurityBreakage } from "./breakage.ts";
import { securityBreakages } from "./index.ts";

const root = join(import.meta.dirname, "../../..");

interface Count {
  readonly passed: number;
  readonly failed: number;
}

/** Runs the suite of a breakage on the broken code. Throws unless tests ran. */
async function countFailures({ file, changes, suite, test }: SecurityBreakage): Promise<Count> {
  const dir = mkdtempSync(join(tmpdir(), "turnwright-breakage-"));
  const report = join(dir, "report.json");
  try {
    const args = [
      ...["run", "--config", "tests/breakages/vitest.config.ts", "--root", root],
      ...["--reporter=json", `--outputFile=${report}`, "--retry=0"],
      ...(test === undefined ? [] : ["--testNamePattern", test]),
      ...suite,
    ];
    const child = spawn(process.execPath, [join(root, "node_modules/vitest/vitest.mjs"), ...args], {
      cwd: root,
      stdio: ["ignore", "ignore", "pipe"],
      env: { ...process.env, TURNWRIGHT_TEST_REPORT: undefined, ...testedEnvironment({ file, changes }) },
    });
    let said = "";
    child.stderr.on("data", (text) => {
      said = (said + text).slice(-4_000);
    });
    await once(child, "close");
    const { numPassedTests: passed, numFailedTests: failed } = JSON.parse(readFileSync(report, "utf8"));
    if (passed + failed === 0) console.error(`no test ran:\n${said}`);
    return { passed, failed };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/**
 * Removes guards and runs their suites: one by name, or `all`. Returns the exit code: 0 if every suite failed as it
 * must.
 */
export async function runWithout(name: string): Promise<number> {
  const all = Object.entries(securityBreakages);
  const asked = name === "all" ? all : all.filter(([known]) => known === name);
  if (asked.length === 0) {
    console.error(`Unknown breakage ${name}; known: ${Object.keys(securityBreakages).join(", ")}.`);
    return 2;
  }
  const unnoticed: string[] = [];
  for (const [guard, breakage] of asked) {
    const { passed, failed } = await countFailures(breakage);
    const verdict = failed > 0 ? "noticed" : "NOT NOTICED";
    console.log(`${verdict} without ${guard}: ${failed} of ${passed + failed} tests fail`);
    if (failed === 0) unnoticed.push(guard);
  }
  console.log(
    unnoticed.length === 0 ? `\nAll of ${asked.length} missing guards are noticed.` : `\nNot noticed: ${unnoticed.join(", ")}`,
  );
  return unnoticed.length === 0 ? 0 : 1;
}
