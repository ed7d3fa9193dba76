import type { InstanceReport } from "@turnwright/platform/rpc/grpc-health";

/**
 * Asks all instances of a part for their reports, within a time in milliseconds. Instances that do not answer by then
 * have none.
 */
export type PartReports = (limitMs: number) => Promise<readonly InstanceReport[]>;

/** The parts of the mesh by name, and how to ask them. */
export type Parts = Readonly<Record<string, PartReports>>;

/** A member of the first report that has it. */
export function firstFact(reports: readonly InstanceReport[], name: string): unknown {
  for (const { report } of reports) {
    if (typeof report === "object" && report !== null && name in report) return (report as Record<string, unknown>)[name];
  }
  return undefined;
}
