import type { BrokenFile } from "../../breakages/broken-source.ts";

/** A guard taken out of the code on purpose, to see that its suite notices. */
export interface SecurityBreakage extends BrokenFile {
  /** The test files that must fail without the guard. */
  readonly suite: readonly string[];
  /** Narrows the suite to the tests whose names match this pattern. */
  readonly test?: string;
}

export type SecurityBreakages = Readonly<Record<string, SecurityBreakage>>;
