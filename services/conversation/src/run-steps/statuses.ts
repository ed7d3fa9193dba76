import type { StepApproval } from "./log-facts.ts";

/** The status of an approval's step. */
export function approvalStatus({ status, reason, isDecided }: Pick<StepApproval, "status" | "reason" | "isDecided">): string {
  if (status === "pending") return "waiting";
  if (status !== "rejected" || isDecided) return status;
  return reason === "expired" ? "expired" : "cancelled";
}

const receipts: Readonly<Record<string, string>> = { not_started: "cancelled", aborted: "cancelled", completed: "completed" };

/** The status of a tool call that was open when its run ended, by its receipt. */
export function receiptStatus(outcome: string | undefined): string {
  return receipts[outcome ?? ""] ?? "unknown";
}
