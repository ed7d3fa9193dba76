import { createHash } from "node:crypto";
import { clientNetwork, clientNetworks } from "@turnwright/platform/client-network";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type pg from "pg";
import { countAttempt, forgiveAttempt, refuseAttempt } from "./store/login-attempts.ts";

/**
 * Failures within 15 minutes after which no further password is verified. The larger networks of an address have a
 * multiple of its limit.
 */
const limits = { pair: 10, account: 100, address: 100 } as const;

/** An attempt, counted as failed until it is forgiven. */
interface LoginAttempt {
  /** Takes the attempt back, because the password was right. */
  forgive(): Promise<void>;
}

const keyOf = (...parts: string[]) => createHash("sha256").update(JSON.stringify(parts)).digest();

/**
 * Counts a login attempt before the password is verified, so that concurrent attempts cannot pass the limits: 10
 * failures for an account from one address, 100 for an account from anywhere, 100 from an address for any accounts. An
 * IPv6 address counts as its /64; its /56 may fail 4 times as often, its /48 16 times. Accounts that do not exist count
 * alike. A refused attempt counts nowhere, so an address that has used up its attempts locks nobody out. Throws
 * RATE_LIMITED with the seconds until the window ends.
 */
export async function beginLogin(pool: pg.Pool, client: { account: string; address: string }): Promise<LoginAttempt> {
  const { account, address } = client;
  const pair = keyOf("pair", account, clientNetwork(address));
  const counted = [
    { key: keyOf("account", account), limit: limits.account },
    ...clientNetworks(address).map(({ name, factor }) => ({ key: keyOf("address", name), limit: limits.address * factor })),
  ];
  const all = [{ key: pair, limit: limits.pair }, ...counted];
  const keys = all.map(({ key }) => key);
  const failures = await countAttempt(pool, keys);
  const over = all.filter(({ limit }, i) => (failures[i] ?? 0) > limit).map(({ key }) => key);
  if (over.length > 0) {
    throw fail(ErrorReason.RATE_LIMITED, "Too many failed logins; try again later.", {
      retryAfterSeconds: await refuseAttempt(pool, { counted: keys, over }),
    });
  }
  return { forgive: () => forgiveAttempt(pool, { cleared: pair, counted: counted.map(({ key }) => key) }) };
}
