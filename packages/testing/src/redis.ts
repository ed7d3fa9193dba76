import { requestStore, testEnvironment } from "./stores.ts";
import { reportUntested } from "./untested.ts";

/**
 * The URL of a real Redis for tests: REDIS_URL, else a server that the run starts from the PATH. Others share it, so
 * tests use keys and topics of their own and never flush. Without any Redis it reports what goes untested and gives
 * undefined, for `describe.skipIf`; with CI set it throws.
 */
export async function testRedis(untested: string): Promise<string | undefined> {
  const url = testEnvironment.REDIS_URL ?? (await requestStore("redis"));
  if (url === undefined) reportUntested(untested, "Redis");
  return url;
}
