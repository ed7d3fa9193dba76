/** The range of graph versions that a worker drives. It claims no run of another version. */
export interface GraphVersions {
  readonly newest: number;
  readonly oldest: number;
}

/** The graph versions that a request names. A request without any drives all. */
export function versionsOf(request: { graphVersion?: number; oldestGraphVersion: number }): GraphVersions {
  return { newest: request.graphVersion ?? maxInteger, oldest: request.oldestGraphVersion };
}

const maxInteger = 2_147_483_647;

/**
 * The `set` list of an update of `runs r` when a run continues after a person's decision: claimed for the owner, or
 * queued as it is when the owner does not drive its graph version. The arguments are the statement's parameters.
 */
export function claimedOrQueued({ owner, oldest, newest }: { owner: string; oldest: string; newest: string }): string {
  const isDriven = `r.graph_version between ${oldest}::integer and ${newest}::integer`;
  return `status = case when ${isDriven} then 'running' else 'queued' end, epoch = r.epoch + (${isDriven})::integer,
    owner = case when ${isDriven} then ${owner} else '' end,
    deadline_at = case when ${isDriven} then now() + r.deadline_seconds * interval '1 second' end`;
}
