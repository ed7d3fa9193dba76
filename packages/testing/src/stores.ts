import { flag, loadConfig } from "@turnwright/platform/config/env";
import { inject } from "vitest";
import { z } from "zod";
import type { StoreAnswer } from "./store-servers.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** Where the run's stores are asked for; provided by vitest.global-setup.ts. */
    storesAddress: string;
    /** Where tests add what they cannot test on this machine; provided by vitest.global-setup.ts. */
    untestedFile: string;
  }
}

/** What the environment says of the stores that tests use. */
export const testEnvironment = loadConfig(
  z.object({
    /** A PostgreSQL to make test databases on, instead of an embedded one. */
    TEST_DATABASE_URL: z.string().optional(),
    /** A Redis to use, instead of starting one. */
    REDIS_URL: z.string().optional(),
    /** Set by CI systems: what cannot be tested fails the run. */
    CI: flag(false),
  }),
);

/** The URL of the run's store, which starts when it is first asked for; undefined when this machine has none. */
export async function requestStore(store: "postgres" | "redis"): Promise<string | undefined> {
  const response = await fetch(`${inject("storesAddress")}/${store}`);
  if (!response.ok) throw new Error(`the run's ${store} did not start: ${await response.text()}`);
  return ((await response.json()) as StoreAnswer).url;
}
