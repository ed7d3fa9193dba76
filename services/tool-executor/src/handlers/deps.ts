import type { Logger } from "@turnwright/platform/logger";
import type pg from "pg";
import type { FreeCallLog } from "../ledger/direct-call-log.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { LedgerWatch } from "../ledger/outage-watch.ts";
import type { Registry } from "../registry/registry.ts";
import type { Slots } from "../running/slots.ts";

/** What the handlers stand on. */
export interface ExecutorParts {
  readonly pool: pg.Pool;
  readonly registry: Registry;
  readonly ledger: Ledger;
  readonly watch: LedgerWatch;
  readonly freeCalls: FreeCallLog;
  readonly slots: Slots;
  readonly logger: Logger;
  /** Checks the grants of approved calls. */
  readonly meshSecret: string;
}
