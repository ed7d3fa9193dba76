/** Code that is taken out of a file on purpose, to see that tests notice. */
export interface BrokenFile {
  /** The file, from the repository's root. */
  readonly file: string;
  /** What the file reads in exactly one place, and what stands there instead. */
  readonly changes: readonly { readonly from: string; readonly to: string }[];
}

/** The source of a file after its changes. Throws where it does not read a passage exactly once. */
export function brokenSource({ file, changes }: BrokenFile, source: string): string {
  let broken = source;
  for (const { from, to } of changes) {
    const parts = broken.split(from);
    if (parts.length !== 2) throw new Error(`${file} reads ${JSON.stringify(from)} in ${parts.length - 1} places`);
    broken = parts.join(to);
  }
  return broken;
}

/** The variable that carries a broken file, as JSON, to the processes that are to load it so. */
export const brokenFileVariable = "TURNWRIGHT_BROKEN_FILE";

/** The broken file that this process shall load; undefined when all is whole. */
export function brokenFile(): BrokenFile | undefined {
  const json = process.env[brokenFileVariable];
  return json === undefined ? undefined : (JSON.parse(json) as BrokenFile);
}
