import { requestStore, testEnvironment } from "./stores.ts";

/**
 * The URL of a real Redis for tests: REDIS_URL, else a server that the run starts from the PATH. Others share it, so tests
 * use keys and topics of their own and never flush. Without any Redis it prints what goes untested and gives undefined, for
 * `describe.skipIf`; with CI set it throws.
 */
export async function testRedis(untested: string): Promise<string | undefined> {
  const url = testEnvironment.REDIS_URL ?? (await requestStore("redis"));
  if (url === undefined) reportUntested(untested, testEnvironment.CI);
  return url;
}

/** Says on standard error what goes untested for want of a Redis; throws instead when all must be tested. */
export function reportUntested(untested: string, isRequired: boolean): void {
  const message = `NOT TESTED: ${untested}. There is no Redis: set REDIS_URL, or install redis-server.`;
  if (isRequired) throw new Error(message);
  process.stderr.write(`\n${message}\n`);
}
