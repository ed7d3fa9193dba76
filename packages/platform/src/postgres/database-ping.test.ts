import { createTestDatabase } from "@turnwright/testing/database";
import { faultProxy } from "@turnwright/testing/fault-proxy";
import { expect, test } from "vitest";
import { ErrorReason, reasonOf } from "../errors.ts";
import { createLogger } from "../logger.ts";
import { databasePing } from "./database-ping.ts";
import { createPool } from "./pool.ts";

const logger = createLogger({ service: "test", level: "silent" });
const reason = (asked: Promise<void>) =>
  asked.then(
    () => undefined,
    (error: unknown) => reasonOf(error),
  );

test("a hanging database and a pool without a free connection both fail within the time limit", async () => {
  const database = await createTestDatabase({ services: [] });
  const proxy = await faultProxy(new URL(database.url));
  const pool = createPool({ url: proxy.url, max: 1, applicationName: "test", logger });
  const ping = databasePing(pool, 300);
  expect(await reason(ping())).toBeUndefined();
  const taken = await pool.connect();
  const began = performance.now();
  expect(await Promise.all([reason(ping()), reason(ping())])).toEqual(Array(2).fill(ErrorReason.DATABASE_UNAVAILABLE));
  expect(performance.now() - began).toBeLessThan(2_000);
  // Concurrent callers share one query: none waits in line behind another.
  expect(pool.waitingCount).toBe(1);
  taken.release();
  await expect.poll(() => reason(ping())).toBeUndefined();
  proxy.hold();
  expect(await reason(ping())).toBe(ErrorReason.DATABASE_UNAVAILABLE);
  proxy.close();
  await pool.end();
  await database.drop();
});
