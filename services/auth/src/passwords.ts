import { clientNetworks } from "@turnwright/platform/client-network";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import argon2 from "argon2";
import { FairQueue } from "./fair-queue.ts";

// OWASP's parameters for argon2id: 19 MiB, two passes, one lane.
const parameters = { type: argon2.argon2id, memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const;
// One network has one of two at most: another one's login begins at once, and shares the processor with one hash,
// whatever the first has sent.
const size = { running: 2, runningOfOne: 1, waiting: 200 } as const;

/** Whose turn work with passwords takes. */
export interface PasswordClient {
  /** Address of the client; empty for the service itself. */
  readonly address: string;
  /** The account that is meant, by whatever names it. */
  readonly account: string;
  /** Fires when nobody waits for the answer any more. */
  readonly signal?: AbortSignal;
}

/** Hashes and checks passwords; only within a turn. */
export interface PasswordHasher {
  /** An encoded argon2id hash. */
  hash(password: string): Promise<string>;
  /** Whether a password fits. Without a hash (no such user) it takes the same time and is false. */
  verify(hash: string | undefined, password: string): Promise<boolean>;
}

/** Gives turns for work with passwords, a few at a time: each hash takes 19 MiB and some 20 ms of a thread. */
export interface Passwords {
  /**
   * Does the work when the client's turn has come: turns go round between networks, in each between addresses, in each
   * between accounts, so that nobody waits for what another one has sent. Throws RATE_LIMITED before the work has begun
   * when too many wait and most of them are this client's.
   */
  inTurn<T>(client: PasswordClient, work: (hasher: PasswordHasher) => Promise<T>): Promise<T>;
}

const nobodyLeaves = new AbortController().signal;

/** Makes the turns with their queue. */
export function createPasswords(): Passwords {
  const queue = new FairQueue(size, () =>
    fail(ErrorReason.RATE_LIMITED, "Too many logins at once; try again in a moment.", { retryAfterSeconds: 2 }),
  );
  const decoy = argon2.hash("no account has this password", parameters);
  const hasher: PasswordHasher = {
    hash: (password) => argon2.hash(password, parameters),
    async verify(hash, password) {
      const fits = await argon2.verify(hash ?? (await decoy), password);
      return fits && hash !== undefined;
    },
  };
  return {
    inTurn({ address, account, signal = nobodyLeaves }, work) {
      // The largest first.
      const [network = "", ...smaller] = clientNetworks(address)
        .map(({ name }) => name)
        .reverse();
      return queue.run([network, ...smaller, account], signal, () => work(hasher));
    },
  };
}
