import type { PoolSettings } from "@turnwright/platform/postgres/pool";

/**
 * Makes a connection plan by index. The journal's statements are prepared, and PostgreSQL keeps the plan of a prepared
 * statement: a plan made while a table was small would still read the whole table once it is large. Every statement
 * finds its rows by a key. A sequential scan, a join that reads a table or an index from end to end and compilation
 * never pay off.
 */
const indexPlans = { enable_seqscan: "off", enable_hashjoin: "off", enable_mergejoin: "off", enable_material: "off", jit: "off" };

/** The settings of the service's connections. Approvals expire after `approvalExpiryMs` milliseconds; 0: never. */
export function connectionSettings({ approvalExpiryMs }: { approvalExpiryMs: number }): PoolSettings {
  const expiry = approvalExpiryMs === 0 ? "" : `${Math.round(approvalExpiryMs)} milliseconds`;
  return { ...indexPlans, "turnwright.approval_expiry": expiry };
}
