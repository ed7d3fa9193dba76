import { closeSync, constants as fsConstants, openSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { ConfigError } from "../config/env.ts";
import type { Logger } from "../logger.ts";
import { tryLock } from "./directory-lock.ts";
import { endOrphan } from "./orphan.ts";
import { beat, livesHere, newOwner, type Owner, readOwner, removeOwner, writeOwner } from "./owner-mark.ts";
import type { Place } from "./place.ts";
import { bootId, pidNamespace } from "./process-start.ts";

/** Times of a claim in milliseconds. */
export interface ClaimTimes {
  /** Between two renewals of the mark. */
  readonly beatMs: number;
  /** Silence after which the owner of another machine's mark counts as dead. */
  readonly staleMs: number;
  /** Longest wait for the server of a dead owner to finish its shutdown. */
  readonly shutdownMs: number;
}

const standardTimes: ClaimTimes = { beatMs: 2_000, staleMs: 10_000, shutdownMs: 15_000 };
const lookMs = 50;

/** A place that this process may use. */
export interface Claim {
  /** The open file with the lock, to be inherited by each process that writes to the cluster. */
  readonly lock: number;
  release(): void;
}

/** Options of a claim. */
export interface ClaimOptions {
  readonly logger: Logger;
  /** Called when another process has taken the place over in spite of all; the cluster must not be written any more. */
  readonly onLost: () => void;
  readonly signal?: AbortSignal;
  readonly times?: Partial<ClaimTimes>;
}

/**
 * Claims a place for this process. Two guards hold it:
 *
 * - a lock of the kernel on the file `lock`, which this process and its PostgreSQL server hold until both have ended.
 *   It is left behind by nobody and counts across containers of one machine, and across machines on a network file
 *   system with locks;
 * - a mark with a random id, renewed every two seconds. It decides where there is no lock, or where one counts on one
 *   machine only: the mark of another machine, or of an earlier boot, is watched for ten seconds before it is replaced.
 *
 * A server whose starter was killed is ended first. Throws ConfigError when the place is in use.
 */
export async function claim(place: Place, options: ClaimOptions): Promise<Claim> {
  const { logger, signal } = options;
  const times = { ...standardTimes, ...options.times };
  const lock = openSync(join(place.root, "lock"), fsConstants.O_RDWR | fsConstants.O_CREAT, 0o600);
  try {
    const isLocked = await takeLock(place, lock, { logger, signal, times });
    const before = readOwner(place);
    // An earlier version took no lock, and its mark may have the id of this process from an earlier container.
    const isUnlocked = !isLocked || (before?.id === undefined && before?.pid !== process.pid);
    if (before !== undefined && isUnlocked && livesHere(before)) throw inUse(place, before);
    const isForeign = before?.id !== undefined && (isOfAnotherMachine(before) || (!isLocked && !knownDead(before)));
    if (isForeign) await outlive(place, before, { logger, signal, times });
    const owner = newOwner();
    writeOwner(place, owner);
    if (isForeign || !isLocked) {
      // Another process may have watched the same mark.
      await delay(times.beatMs, undefined, { signal });
      const winner = readOwner(place);
      if (winner !== undefined && winner.id !== owner.id) throw inUse(place, winner);
    }
    await endOrphan(place, logger);
    const renewal = renew(place, owner, times.beatMs, options.onLost);
    return {
      lock,
      release() {
        clearInterval(renewal);
        removeOwner(place, owner);
        closeSync(lock);
      },
    };
  } catch (error) {
    closeSync(lock);
    throw error;
  }
}

interface Patience {
  readonly logger: Logger;
  readonly signal: AbortSignal | undefined;
  readonly times: ClaimTimes;
}

/** Whether a mark comes from another machine, or from this one before it was booted. */
function isOfAnotherMachine(owner: Owner): boolean {
  return owner.boot !== bootId() || (owner.boot === "" && owner.host !== hostname());
}

/** A mark whose process would be seen here, and is not. */
function knownDead(owner: Owner): boolean {
  return owner.namespace === pidNamespace() && !isOfAnotherMachine(owner) && !livesHere(owner);
}

/**
 * Takes the lock. While another process holds it, its owner is refused if alive; the server of a dead owner is
 * awaited. Resolves to false when nothing here can be locked.
 */
async function takeLock(place: Place, lock: number, { logger, signal, times }: Patience): Promise<boolean> {
  const until = performance.now() + times.shutdownMs;
  const first = readOwner(place);
  for (;;) {
    const result = tryLock(lock);
    if (result === "unavailable") logger.warn({ directory: place.root }, "the data directory cannot be locked");
    if (result !== "held") return result === "locked";
    const owner = readOwner(place);
    if (owner !== undefined && livesHere(owner)) throw inUse(place, owner);
    const isSilent = owner?.id === first?.id && owner?.beat === first?.beat;
    if (!isSilent || performance.now() > until) throw inUse(place, owner);
    if (owner !== undefined && knownDead(owner)) await endOrphan(place, logger);
    await delay(lookMs, undefined, { signal });
  }
}

/** Watches another machine's mark, and throws as soon as its owner renews it. */
async function outlive(place: Place, mark: Owner, { logger, signal, times }: Patience): Promise<void> {
  logger.warn(
    { host: mark.host, pid: mark.pid, wait_ms: times.staleMs },
    "the data directory was in use on another machine or before a reboot; waiting for a sign of life",
  );
  const until = performance.now() + times.staleMs;
  while (performance.now() < until) {
    await delay(lookMs, undefined, { signal });
    const now = readOwner(place);
    if (now !== undefined && (now.id !== mark.id || now.beat !== mark.beat)) throw inUse(place, now);
  }
}

function renew(place: Place, owner: Owner, beatMs: number, onLost: () => void): NodeJS.Timeout {
  let isBusy = false;
  const timer = setInterval(async () => {
    if (isBusy) return;
    isBusy = true;
    const isMine = await beat(place, owner);
    isBusy = false;
    if (isMine) return;
    clearInterval(timer);
    onLost();
  }, beatMs).unref();
  return timer;
}

function inUse(place: Place, owner: Owner | undefined): ConfigError {
  const isHere = owner === undefined || livesHere(owner);
  const holder = owner === undefined ? "another process" : `process ${owner.pid}`;
  const where = isHere ? "" : ` on ${owner.host ?? "another host"} (another container or machine)`;
  return new ConfigError([
    `TURNWRIGHT_DATA_DIR: ${place.root} is in use by ${holder}${where}; stop that process, or set another directory`,
  ]);
}
