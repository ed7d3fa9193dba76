/**
 * Makes a connection plan by index. The journal's statements are prepared, and PostgreSQL keeps the plan of a prepared
 * statement: a plan made while a table was small would still read the whole table once it is large. Every statement
 * finds its rows by a key. A sequential scan, a join that reads a table or an index from end to end and compilation
 * never pay off.
 */
const indexPlans =
  "set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off; set enable_material = off; set jit = off";

/** Makes approvals that a connection inserts expire after so many milliseconds; 0: never. */
function approvalExpiry(expiryMs: number): string {
  const interval = expiryMs === 0 ? "" : `${Math.round(expiryMs)} milliseconds`;
  return `set turnwright.approval_expiry = '${interval}'`;
}

/** The statements with which each of the service's connections begins, for `withSettings`. */
export function connectionSettings({ approvalExpiryMs }: { approvalExpiryMs: number }): readonly string[] {
  return [indexPlans, approvalExpiry(approvalExpiryMs)];
}
