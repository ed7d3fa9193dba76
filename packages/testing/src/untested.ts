import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inject } from "vitest";
import { testEnvironment } from "./stores.ts";

/** Programs that a machine may lack, and the remedy for each. */
const remedies = {
  Redis: "set REDIS_URL, or install redis-server",
  Chromium: "set CHROMIUM_PATH, or install chromium",
  PgBouncer: "set PGBOUNCER_PATH, or install pgbouncer",
  "C compiler": "install gcc and the headers of the C library",
  "openai for Python": "python3 -m pip install -r tests/clients/python/requirements.txt",
  "langchain-openai for Python": "python3 -m pip install -r tests/clients/python/requirements.txt",
  "pid namespace": "run as root, or on a machine that lets users create namespaces",
} as const;

/** A missing program. */
export type Lacking = keyof typeof remedies;

/** Missing programs that fail no run, not even with CI: other tests cover the same behaviour in another way. */
const dispensable: ReadonlySet<Lacking> = new Set(["openai for Python", "langchain-openai for Python", "pid namespace"]);

/** The line that reports skipped tests and the missing program. */
export function untestedLine(untested: string, lacking: Lacking): string {
  return `NOT TESTED: ${untested}. There is no ${lacking}: ${remedies[lacking]}.`;
}

/** Whether tests must run although a program is missing. */
export function isRequired(lacking: Lacking, inCi: boolean = testEnvironment.CI): boolean {
  return inCi && !dispensable.has(lacking);
}

/**
 * Reports skipped tests on standard error and in the list at the end of the run. Throws instead when they must run.
 */
export function reportUntested(untested: string, lacking: Lacking, mustRun: boolean = isRequired(lacking)): void {
  const line = untestedLine(untested, lacking);
  if (mustRun) throw new Error(line);
  process.stderr.write(`\n${line}\n`);
  appendFileSync(inject("untestedFile"), `${line}\n`);
}

/** The list of tests skipped in a run. */
export interface UntestedList {
  /** File to which tests add their lines. */
  readonly file: string;
  /** Writes the list unless it is empty, and deletes its file. */
  close(write: (text: string) => void): void;
}

/** Creates the list for a run. */
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
