import { ErrorReason, fail } from "@turnwright/platform/errors";
import argon2 from "argon2";

// OWASP's parameters for argon2id: 19 MiB, two passes, one lane.
const parameters = { type: argon2.argon2id, memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const;
const maxRunning = 2;
const maxWaiting = 200;

/** Hashes and checks passwords, a few at a time: each takes 19 MiB and some 20 ms of a thread. */
export interface Passwords {
  /** An encoded argon2id hash. Throws RATE_LIMITED when too many wait. */
  hash(password: string): Promise<string>;
  /** Whether a password fits. Without a hash (no such user) it takes the same time and is false. */
  verify(hash: string | undefined, password: string): Promise<boolean>;
}

/** Makes the password functions with their queue. */
export function createPasswords(): Passwords {
  let running = 0;
  const waiting: (() => void)[] = [];
  const queued = async <T>(work: () => Promise<T>): Promise<T> => {
    if (running >= maxRunning) {
      if (waiting.length >= maxWaiting) {
        throw fail(ErrorReason.RATE_LIMITED, "Too many logins at once; try again in a moment.", { retryAfterSeconds: 2 });
      }
      await new Promise<void>((resolve) => waiting.push(resolve));
    } else running++;
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next === undefined) running--;
      else next();
    }
  };
  const decoy = argon2.hash("no account has this password", parameters);
  return {
    hash: (password) => queued(() => argon2.hash(password, parameters)),
    verify: (hash, password) =>
      queued(async () => {
        const fits = await argon2.verify(hash ?? (await decoy), password);
        return fits && hash !== undefined;
      }),
  };
}
