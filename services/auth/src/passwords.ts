import { clientNetworks } from "@turnwright/platform/client-network";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import argon2 from "argon2";
import { FairQueue } from "./fair-queue.ts";

// OWASP's parameters for argon2id: 19 MiB, two passes, one lane.
const parameters = { type: argon2.argon2id, memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const;
/** A hash of no password, whose check takes as long as any other. It is written, not computed, at each start. */
const decoy = [
  "$argon2id$v=19",
  `m=${parameters.memoryCost},t=${parameters.timeCost},p=${parameters.parallelism}`,
  "A".repeat(22),
  "A".repeat(43),
].join("$");
// One network has at most one of the two places, so a login from another network begins at once and shares the
// processor with a single hash, whatever the first has sent.
const size = { running: 2, runningOfOne: 1, waiting: 200 } as const;

/** The client in whose turn password work runs. */
export interface PasswordClient {
  /** Address of the client; empty for the service itself. */
  readonly address: string;
  /** The account, by its id or address. */
  readonly account: string;
  /** Fires when the client no longer waits for the response. */
  readonly signal?: AbortSignal;
}

/** Hashes and verifies passwords. Valid only within a turn. */
export interface PasswordHasher {
  /** An encoded argon2id hash. */
  hash(password: string): Promise<string>;
  /** Whether a password is right. Without a hash (no such user) it takes the same time and returns false. */
  verify(hash: string | undefined, password: string): Promise<boolean>;
}

/** Limits concurrent password work: each hash takes 19 MiB and some 20 ms of a thread. */
export interface Passwords {
  /**
   * Runs the work in the client's turn. Turns rotate between networks, within a network between addresses, and within
   * an address between accounts, so nobody waits behind the requests of others. Throws RATE_LIMITED, before the work
   * begins, when the queue is full and most of it is this client's.
   */
  inTurn<T>(client: PasswordClient, work: (hasher: PasswordHasher) => Promise<T>): Promise<T>;
}

const nobodyLeaves = new AbortController().signal;

/** Makes the queue for password work. */
export function createPasswords(): Passwords {
  const queue = new FairQueue(size, () =>
    fail(ErrorReason.RATE_LIMITED, "Too many logins at once; try again in a moment.", { retryAfterSeconds: 2 }),
  );
  const hasher: PasswordHasher = {
    hash: (password) => argon2.hash(password, parameters),
    async verify(hash, password) {
      const fits = await argon2.verify(hash ?? decoy, password);
      return fits && hash !== undefined;
    },
  };
  return {
    inTurn({ address, account, signal = nobodyLeaves }, work) {
      // The largest network first.
      const [network = "", ...smaller] = clientNetworks(address)
        .map(({ name }) => name)
        .reverse();
      return queue.run([network, ...smaller, account], signal, () => work(hasher));
    },
  };
}
