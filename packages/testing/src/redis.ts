import { requestStore, testEnvironment } from "./stores.ts";
import { reportUntested } from "./untested.ts";

/**
 * The URL of a real Redis for tests: REDIS_URL, else a server from the PATH, started for the run. Suites share it, so
 * tests use their own keys and topics and never flush. Without any Redis, it reports the skipped tests and returns
 * undefined, for `describe.skipIf`; with CI set, it throws.
 */
export async function testRedis(untested: string): Promise<string | undefined> {
  const url = testEnvironment.REDIS_URL ?? (await requestStore("redis"));
  if (url === undefined) reportUntested(untested, "Redis");
  return url;
}
