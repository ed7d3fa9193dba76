import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type System, startSystem } from "../../e2e/system.ts";

/** Runs `work` with its own system, one process with an embedded PostgreSQL, and removes it afterwards. */
export async function withSystem(env: Record<string, string>, work: (system: System) => Promise<void>): Promise<void> {
  const dataDir = mkdtempSync(join(tmpdir(), "turnwright-security-"));
  try {
    const system = await startSystem({ shape: "all-in-one", env: { TURNWRIGHT_DATA_DIR: dataDir, ...env } });
    try {
      await work(system);
    } finally {
      await system.stop();
    }
  } finally {
    rmSync(dataDir, { recursive: true, force: true });
  }
}

/** The median. */
export function median(numbers: readonly number[]): number {
  return [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0;
}

/** Prints a row and records a breach. */
export function report(row: string, isKept: boolean, figure: string): void {
  console.log(`${row}  ${isKept ? "kept  " : "BROKEN"}  ${figure}`);
  if (!isKept) process.exitCode = 1;
}

/** A number generator, deterministic by seed; values in [0, 1). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
