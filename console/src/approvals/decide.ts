import { ApiError, api } from "../api/request.ts";
import type { Approval } from "../api/types.ts";
import { shortClockText, timeOf } from "../format/time.ts";

/** A person's decision on a waiting call. */
export interface Decision {
  readonly approved: boolean;
  readonly reason?: string;
  /** JSON text of the edited arguments; undefined: as they are. */
  readonly argumentsJson?: string;
}

/** How a decision ended: it holds, or another one does. */
export type Decided =
  | { readonly kind: "held"; readonly approval: Approval | null }
  | { readonly kind: "late"; readonly sentence: string };

/** Whose decision holds, in words: `Rejected by Anna (console) 14:03: 'wrong amount'`. */
export function standingText(approval: Approval): string {
  const { status, decided_by_name, decided_via, decided_at, reason } = approval;
  const verb = status === "approved" ? "Approved" : status === "rejected" ? "Rejected" : "Decided";
  const who = decided_by_name === "" ? "another person" : decided_by_name;
  const via = decided_via === "" ? "" : ` (${decided_via})`;
  const at = timeOf(decided_at);
  const when = at === undefined ? "" : ` ${shortClockText(at)}`;
  return `${verb} by ${who}${via}${when}${reason === "" ? "" : `: '${reason}'`}`;
}

function standingOf(error: ApiError): Approval | undefined {
  const body = error.body as { error?: { approval?: Approval }; data?: { approval?: Approval } } | undefined;
  return body?.error?.approval ?? body?.data?.approval;
}

/** Decides on a call once; a second press of the same button, or a reload, decides nothing more. Throws ApiError. */
export async function decide(approvalId: string, decision: Decision): Promise<Decided> {
  const body = {
    approved: decision.approved,
    reason: decision.reason,
    arguments_json: decision.argumentsJson,
    wait: false,
    via: "console",
  };
  try {
    const path = { approval_id: approvalId };
    const { approval } = await api("POST /v1/approvals/{approval_id}/decision", { path, body, once: `decide:${approvalId}` });
    return { kind: "held", approval };
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.code === "APPROVAL_DECIDED") {
      const standing =
        standingOf(error) ?? (await api("GET /v1/approvals/{approval_id}", { path: { approval_id: approvalId } })).approval;
      const words = standing === null ? error.message : standingText(standing);
      return { kind: "late", sentence: `${words}. Nothing was sent by you.` };
    }
    if (error.code === "APPROVAL_EXPIRED") {
      return { kind: "late", sentence: "This call expired and counts as rejected. Nothing was sent by you." };
    }
    throw error;
  }
}
