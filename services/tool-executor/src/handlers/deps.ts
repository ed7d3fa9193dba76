import type { Secrets } from "@turnwright/platform/config/secrets";
import type { FailureLog } from "@turnwright/platform/failure-log";
import type { Logger } from "@turnwright/platform/logger";
import type pg from "pg";
import type { DirectCallLog } from "../ledger/direct-call-log.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { OutageWatch } from "../ledger/outage-watch.ts";
import type { Registry } from "../registry/registry.ts";
import type { Slots } from "../running/slots.ts";

/** The parts of the executor that its handlers use. */
export interface ExecutorDeps {
  readonly pool: pg.Pool;
  readonly registry: Registry;
  readonly ledger: Ledger;
  readonly outageWatch: OutageWatch;
  readonly directCalls: DirectCallLog;
  readonly slots: Slots;
  readonly logger: Logger;
  readonly failures: FailureLog;
  /** Verifies the grants of approved calls. */
  readonly meshSecrets: Secrets;
}
