/** The versions of the graph that a worker drives. What is claimed for it is of these; runs of others are left as they are. */
export interface GraphVersions {
  readonly newest: number;
  readonly oldest: number;
}

/** The versions that a request names. One that names none drives whatever it is given. */
export function versionsOf(request: { graphVersion?: number; oldestGraphVersion: number }): GraphVersions {
  return { newest: request.graphVersion ?? maxInteger, oldest: request.oldestGraphVersion };
}

const maxInteger = 2_147_483_647;

/**
 * What an update of `runs r` sets when a run that a person kept waiting goes on: claimed for the owner, or, of a version that the owner does not drive,
 * queued as it stands. The arguments are the statement's parameters.
 */
export function claimedOrQueued({ owner, oldest, newest }: { owner: string; oldest: string; newest: string }): string {
  const isDriven = `r.graph_version between ${oldest}::integer and ${newest}::integer`;
  return `status = case when ${isDriven} then 'running' else 'queued' end, epoch = r.epoch + (${isDriven})::integer,
    owner = case when ${isDriven} then ${owner} else '' end,
    deadline_at = case when ${isDriven} then now() + r.deadline_seconds * interval '1 second' end`;
}
