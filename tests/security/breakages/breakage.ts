import type { BrokenFile } from "../../breakages/broken-source.ts";

/** A guard removed from the code on purpose, to prove that its suite notices. */
export interface SecurityBreakage extends BrokenFile {
  /** The test files that must fail without the guard. */
  readonly suite: readonly string[];
  /** Limits the suite to tests whose names match this pattern. */
  readonly test?: string;
}

export type SecurityBreakages = Readonly<Record<string, SecurityBreakage>>;
