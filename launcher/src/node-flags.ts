/** Largest half of the young generation, in MB: decisions/0008. */
const youngFlags: readonly string[] = ["--max-semi-space-size=8"];

/** The flags of Node.js with which a part of the mesh runs; the scripts and the images name the same ones. */
export function nodeFlagsOf(part: string): readonly string[] {
  return part === "gateway" ? youngFlags : [];
}
