import type { ServiceImpl } from "@connectrpc/connect";
import type { AuditService } from "@turnwright/contract/auth/v1/audit_service";
import { auditVerifier, listAuditEntries } from "@turnwright/platform/postgres/audit-reader";
import type pg from "pg";

/** Handlers of the audit log, which only admins may read. */
export function auditHandlers({ pool }: { readonly pool: pg.Pool }): ServiceImpl<typeof AuditService> {
  const verify = auditVerifier(pool, "auth");
  return {
    listAuditEntries: (query) => listAuditEntries(pool, "auth", query),
    verifyAuditLog: async () => ({ verification: await verify() }),
  };
}
