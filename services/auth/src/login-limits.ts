import { createHash } from "node:crypto";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type pg from "pg";
import { countAttempt, forgiveAttempt, secondsLeft } from "./store/login-attempts.ts";

/** Failures in a quarter of an hour after which no password is looked at any more. */
const limits = { pair: 10, account: 100, address: 100 } as const;

/** An attempt that counts as failed until it is forgiven. */
export interface LoginAttempt {
  /** The password fitted. */
  forgive(): Promise<void>;
}

const keyOf = (...parts: string[]) => createHash("sha256").update(JSON.stringify(parts)).digest();

/**
 * Counts an attempt to log in before the password is looked at, so that many at once cannot pass the limit: 10 failures for one account from
 * one address, 100 for an account from anywhere, 100 from an address for any accounts. Accounts that do not exist count alike.
 * Throws RATE_LIMITED with the seconds until the window ends.
 */
export async function beginLogin(pool: pg.Pool, email: string, address: string): Promise<LoginAttempt> {
  const pair = keyOf("pair", email, address);
  const account = keyOf("account", email);
  const byAddress = keyOf("address", address);
  const keys = [pair, account, byAddress];
  const failures = await countAttempt(pool, keys);
  const bounds = [limits.pair, limits.account, limits.address];
  const over = keys.find((_key, i) => (failures[i] ?? 0) > (bounds[i] ?? 0));
  if (over !== undefined) {
    throw fail(ErrorReason.RATE_LIMITED, "Too many failed logins; try again later.", {
      retryAfterSeconds: await secondsLeft(pool, over),
    });
  }
  return { forgive: () => forgiveAttempt(pool, { cleared: pair, counted: [account, byAddress] }) };
}
