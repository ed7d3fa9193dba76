/** A source file with passages replaced on purpose, to prove that a test fails without them. */
export interface BrokenFile {
  /** Path from the repository's root. */
  readonly file: string;
  /** `from` stands in the file exactly once; `to` replaces it. */
  readonly changes: readonly { readonly from: string; readonly to: string }[];
}

/** The file's source after the changes. Throws unless each `from` occurs exactly once. */
export function brokenSource({ file, changes }: BrokenFile, source: string): string {
  let broken = source;
  for (const { from, to } of changes) {
    const parts = broken.split(from);
    if (parts.length !== 2) throw new Error(`${file} reads ${JSON.stringify(from)} in ${parts.length - 1} places`);
    broken = parts.join(to);
  }
  return broken;
}

/** The variable that carries a broken file, as JSON, to the processes that must load it. */
export const brokenFileVariable = "TURNWRIGHT_BROKEN_FILE";

/** The broken file that this process must load; undefined: none. */
export function brokenFile(): BrokenFile | undefined {
  const json = process.env[brokenFileVariable];
  return json === undefined ? undefined : (JSON.parse(json) as BrokenFile);
}
