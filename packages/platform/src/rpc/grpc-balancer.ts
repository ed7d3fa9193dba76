import { setTimeout as delay } from "node:timers/promises";
import { Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { type FoundInstances, findInstances, type Lookup, listedInstances } from "./grpc-addresses.ts";
import { type Instance, Rank } from "./grpc-instance.ts";
import { defaultPatienceMs } from "./grpc-repeat.ts";
import type { PlaneRequest } from "./plane.ts";

/** Chooses the instance for each call. */
export interface Balancer {
  /**
   * The next instance that answers, in turn. Waits for a connection while none has one, no longer than the request's
   * deadline. Rejects with UNAVAILABLE when none can be reached.
   */
  pick(request: Pick<PlaneRequest, "signal" | "deadline">): Instance | Promise<Instance>;
  /** Closes all connections. */
  close(): void;
}

/** The instances are watched this often, in milliseconds. */
const watchEveryMs = 250;
/** A watch this late, in milliseconds, says that this process did not run. */
const lateMs = 250;
/** Names are resolved again this often, in milliseconds: an instance that is added takes calls soon. */
const resolveEveryMs = 10_000;
/** The same while no instance answers. */
const resolveAgainMs = 1_000;
/** The pause between two looks for a connection, in milliseconds. */
const connectPauseMs = 10;

type CallFailure = Pick<ServiceError, "code" | "details" | "metadata">;

/** The text of grpc-js for a call that found no connection: no server has begun it. */
function noConnection(details: string): CallFailure {
  return { code: status.UNAVAILABLE, details: `No connection established. ${details}`, metadata: new Metadata() };
}

/** The failure of a call whose deadline passed before an address was known. */
function tooLate(): CallFailure {
  return { code: status.DEADLINE_EXCEEDED, details: "The service has no address yet.", metadata: new Metadata() };
}

/**
 * Creates a balancer over the instances at `addresses`: round-robin over those that are connected, answer and serve.
 * An instance that is frozen keeps its connections; it is known by its silence, and gets no call after at most two
 * seconds. Its calls go to another instance where they may. Nothing runs before the first call.
 */
export function createBalancer(options: {
  addresses: readonly string[];
  connect: (target: string) => Instance;
  lookup?: Lookup;
  /** Milliseconds between two resolutions of a name; 10,000 unless given. */
  resolveEveryMs?: number;
  /** Milliseconds for which a call waits for a connection; 3,000 unless given. */
  patienceMs?: number;
}): Balancer {
  const { addresses, connect, patienceMs = defaultPatienceMs } = options;
  const listed = listedInstances(addresses);
  let instances: Instance[] = [];
  /** Instances whose address is gone, until their calls have ended. */
  let retired: Instance[] = [];
  let next = 0;
  let resolving: Promise<void> | undefined;
  let resolvedAt = Number.NEGATIVE_INFINITY;
  let timer: NodeJS.Timeout | undefined;
  let watchedAt = performance.now();
  let isClosed = false;

  const take = ({ targets }: FoundInstances): void => {
    if (isClosed || targets.length === 0) return;
    const kept = instances.filter(({ target }) => targets.includes(target));
    retired.push(...instances.filter((instance) => !kept.includes(instance)));
    const known = new Set(kept.map(({ target }) => target));
    instances = [...kept, ...targets.filter((target) => !known.has(target)).map(connect)];
    // Connects: calls may be waiting for one.
    for (const instance of instances) instance.rank();
  };

  /** Resolves the name again; the known instances stay when it cannot be resolved. */
  const resolve = (): Promise<void> => {
    resolving ??= findInstances(addresses, options.lookup)
      .then(take, () => {})
      .finally(() => {
        resolvedAt = performance.now();
        resolving = undefined;
      });
    return resolving;
  };

  const resolveIfDue = (now: number, ranks: readonly number[]): void => {
    if (listed !== undefined) return;
    const isAway = ranks.every((rank) => rank >= Rank.SILENT);
    if (now - resolvedAt > (isAway ? resolveAgainMs : (options.resolveEveryMs ?? resolveEveryMs))) void resolve();
  };

  const watch = (): void => {
    const now = performance.now();
    const late = now - watchedAt - watchEveryMs;
    watchedAt = now;
    if (late > lateMs) for (const instance of instances) instance.forgive(late);
    for (const instance of instances) instance.watch(now);
    const ranks = instances.map((instance) => instance.rank());
    if (ranks.includes(Rank.GOOD)) for (const instance of [...instances, ...retired]) instance.giveUp(now);
    resolveIfDue(now, ranks);
    retired = retired.filter((instance) => {
      if (!instance.isBusy) instance.close();
      return instance.isBusy;
    });
  };

  const start = (): void => {
    if (timer !== undefined || isClosed) return;
    watchedAt = performance.now();
    timer = setInterval(watch, watchEveryMs).unref();
    if (listed !== undefined) take(listed);
  };

  /** The best instance, in turn among the equally good. */
  const best = (): { instance: Instance | undefined; rank: number } => {
    let instance: Instance | undefined;
    let rank: number = Number.POSITIVE_INFINITY;
    const from = next;
    for (let step = 0; step < instances.length && rank > Rank.GOOD; step += 1) {
      const at = (from + step) % instances.length;
      const other = instances[at] as Instance;
      const itsRank = other.rank();
      if (itsRank >= rank) continue;
      instance = other;
      rank = itsRank;
      next = at + 1;
    }
    return { instance, rank };
  };

  const wait = async ({ signal, deadline = Number.POSITIVE_INFINITY }: Parameters<Balancer["pick"]>[0]): Promise<Instance> => {
    const until = performance.now() + patienceMs;
    if (instances.length === 0) {
      // A timer may fire a millisecond before its time by the clock of deadlines.
      const waitMs = Math.min(patienceMs, deadline - Date.now() + 1);
      await Promise.race([resolve(), delay(waitMs, undefined, { signal, ref: false }).catch(() => {})]);
      if (instances.length === 0 && Date.now() >= deadline) throw tooLate();
    }
    for (;;) {
      const { instance, rank } = best();
      if (instance === undefined) throw noConnection("The service has no address.");
      // A single connection has a queue of its own, which ends calls at their deadline.
      if (rank < Rank.CONNECTING || rank === Rank.SILENT || Date.now() >= deadline) return instance;
      if (rank === Rank.CONNECTING && instances.length === 1) return instance;
      if (rank === Rank.AWAY || signal.aborted || performance.now() > until) {
        throw noConnection(`${instances.length} instances were tried.`);
      }
      await delay(connectPauseMs);
    }
  };

  return {
    pick(request) {
      if (timer === undefined) start();
      const { instance, rank } = best();
      return instance !== undefined && rank < Rank.CONNECTING ? instance : wait(request);
    },
    close() {
      isClosed = true;
      clearInterval(timer);
      for (const instance of [...instances, ...retired]) instance.close();
      instances = [];
      retired = [];
    },
  };
}
