import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inject } from "vitest";
import { testEnvironment } from "./stores.ts";

/** What tests can lack on a machine, with what a reader does about it. */
const remedies = {
  Redis: "set REDIS_URL, or install redis-server",
  Chromium: "set CHROMIUM_PATH, or install chromium",
  "C compiler": "install gcc and the headers of the C library",
} as const;

/** Something that a machine may lack. */
export type Lacking = keyof typeof remedies;

/** The line that says what goes untested for want of something. */
export function untestedLine(untested: string, lacking: Lacking): string {
  return `NOT TESTED: ${untested}. There is no ${lacking}: ${remedies[lacking]}.`;
}

/**
 * Says on standard error, and in the list that closes the run, what goes untested for want of something; for tests that
 * are then skipped. Throws instead when all must be tested (CI is set).
 */
export function reportUntested(untested: string, lacking: Lacking, isRequired: boolean = testEnvironment.CI): void {
  const line = untestedLine(untested, lacking);
  if (isRequired) throw new Error(line);
  process.stderr.write(`\n${line}\n`);
  appendFileSync(inject("untestedFile"), `${line}\n`);
}

/** The list of what went untested in a run. */
export interface UntestedList {
  /** Where tests add their lines. */
  readonly file: string;
  /** Writes the list, if there is anything on it, and takes its file away. */
  close(write: (text: string) => void): void;
}

/** Opens the list for a run. */
export function openUntestedList(): UntestedList {
  const dir = mkdtempSync(join(tmpdir(), "turnwright-untested-"));
  const file = join(dir, "list");
  return {
    file,
    close(write) {
      const lines = existsSync(file) ? readFileSync(file, "utf8").split("\n").filter(Boolean) : [];
      rmSync(dir, { recursive: true, force: true });
      const distinct = [...new Set(lines)].sort();
      if (distinct.length > 0)
        write(`\nNot everything was tested on this machine:\n${distinct.map((line) => `  ${line}\n`).join("")}`);
    },
  };
}
