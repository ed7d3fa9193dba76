import type { Logger } from "@turnwright/platform/logger";
import type pg from "pg";
import type { FreeCallLog } from "./free-calls.ts";
import type { Ledger } from "./ledger.ts";
import type { LedgerWatch } from "./ledger-watch.ts";
import type { Registry } from "./registry.ts";
import type { Slots } from "./slots.ts";

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
