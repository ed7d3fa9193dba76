import { flag, loadConfig } from "@turnwright/platform/config/env";
import { inject } from "vitest";
import { z } from "zod";
import type { StoreAnswer } from "./store-servers.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** Address of the run's store server; provided by vitest.global-setup.ts. */
    storesAddress: string;
    /** File to which tests add the tests they skip on this machine; provided by vitest.global-setup.ts. */
    untestedFile: string;
  }
}

/** Environment variables for the stores of tests. */
export const testEnvironment = loadConfig(
  z.object({
    /** A PostgreSQL for test databases, instead of an embedded one. */
    TEST_DATABASE_URL: z.string().optional(),
    /** A Redis for tests, instead of one started for the run. */
    REDIS_URL: z.string().optional(),
    /** A PgBouncer for tests, instead of that of the PATH. */
    PGBOUNCER_PATH: z.string().optional(),
    /** Set by CI systems: tests that cannot run fail instead of being skipped. */
    CI: flag(false),
  }),
);

/** The URL of the run's store, which starts on the first request; undefined when this machine has none. */
export async function requestStore(store: "postgres" | "redis"): Promise<string | undefined> {
  const response = await fetch(`${inject("storesAddress")}/${store}`);
  if (!response.ok) throw new Error(`the run's ${store} did not start: ${await response.text()}`);
  return ((await response.json()) as StoreAnswer).url;
}
