/** The graph versions that a process drives. Runs of other versions are left to processes that drive those. */
export interface GraphVersions {
  /** The process's own version: the state that it writes belongs to it. */
  readonly newest: number;
  /** The oldest version whose state the process reads. */
  readonly oldest: number;
}

/**
 * The versions of the graph in this release. CONTRIBUTING.md, "Versions of the graph", says when to raise them. A state
 * of version 1 reads as one of version 2. A release that drives version 1 only resumes a decided run with the decider's
 * credential, so it must not drive runs of version 2.
 */
export const graphVersions: GraphVersions = { newest: 2, oldest: 1 };

/** The versions as fields of a journal request. */
export function versionFields({ newest, oldest }: GraphVersions): { graphVersion: number; oldestGraphVersion: number } {
  return { graphVersion: newest, oldestGraphVersion: oldest };
}
