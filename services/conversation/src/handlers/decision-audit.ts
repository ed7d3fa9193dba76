import type { ServiceImpl } from "@connectrpc/connect";
import type { DecisionAuditService } from "@turnwright/contract/conversation/v1/decision_audit_service";
import { auditVerifier, listAuditEntries } from "@turnwright/platform/postgres/audit-reader";
import type pg from "pg";

/** Handlers of the audit log, which only admins may read. */
export function decisionAuditHandlers({ pool }: { readonly pool: pg.Pool }): ServiceImpl<typeof DecisionAuditService> {
  const verify = auditVerifier(pool, "conversation");
  return {
    listDecisionAuditEntries: (query) => listAuditEntries(pool, "conversation", query),
    verifyDecisionAuditLog: async () => ({ verification: await verify() }),
  };
}
