import { type ChannelCredentials, Client, credentials } from "@grpc/grpc-js";
import { ErrorReason, fail, reasonOf } from "../errors.ts";
import { findInstances, type Lookup } from "./grpc-addresses.ts";
import { detailsOf, reportOf } from "./grpc-details.ts";
import { askServing } from "./grpc-serving.ts";

/**
 * Service name under which the health service reports the database, so that a probe can tell it from the service
 * itself.
 */
export const databaseHealth = "database";

/** Health of a service's instances. */
export interface ServiceHealth {
  /** Number of serving instances: at least one. */
  readonly serving: number;
  /** `host:port` of instances that do not serve. */
  readonly failing: readonly string[];
  /**
   * States of interest while it serves, as JSON; undefined: none. Of a service in processes of its own, by the
   * `host:port` of each instance that has some.
   */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** Probes each instance of a service separately: round-robin would hit a hanging one only now and then. */
export interface HealthProbe {
  /**
   * Rejects when no instance serves or answers within 2 s: with DATABASE_UNAVAILABLE when one reports that its database
   * does not answer, else with UNAVAILABLE.
   */
  check(): Promise<ServiceHealth>;
  /**
   * Milliseconds by which the clock of each instance that answered the last check is ahead of this process's, by
   * `host:port`.
   */
  clocks(): ReadonlyMap<string, number>;
  /**
   * The report of each instance, within the time in milliseconds; one that does not answer by then has none. Empty when
   * the service has no address.
   */
  reports(limitMs: number): Promise<InstanceReport[]>;
  close(): void;
}

/** Facts and figures of one instance. */
export interface InstanceReport {
  /** `host:port`; empty: this process. */
  readonly instance: string;
  /** As JSON; undefined: it does not answer, or is of a release that tells none. */
  readonly report: unknown;
}

const timeoutMs = 2_000;

/** Creates a probe of the instances at `addresses`, in the form that a transport takes. */
export function createHealthProbe(options: {
  addresses: readonly string[];
  lookup?: Lookup;
  tls?: { readonly credentials: ChannelCredentials; readonly peer: string };
}): HealthProbe {
  const { tls } = options;
  const clients = new Map<string, Client>();
  const haveServed = new Set<string>();
  let clocks = new Map<string, number>();

  const clientOf = (target: string): Client => {
    let client = clients.get(target);
    if (client === undefined) {
      client = new Client(target, tls?.credentials ?? credentials.createInsecure(), {
        "grpc.initial_reconnect_backoff_ms": 100,
        "grpc.max_reconnect_backoff_ms": 1_000,
        "grpc.keepalive_time_ms": 20_000,
        "grpc.keepalive_timeout_ms": 5_000,
        "grpc.enable_http_proxy": 0,
        "grpc.use_local_subchannel_pool": 1,
        ...(tls === undefined ? {} : { "grpc.ssl_target_name_override": tls.peer }),
      });
      clients.set(target, client);
    }
    return client;
  };
  const forgetOthers = (targets: readonly string[]): void => {
    for (const [target, client] of clients) {
      if (targets.includes(target)) continue;
      client.close();
      clients.delete(target);
      haveServed.delete(target);
    }
  };

  return {
    async check() {
      const { targets, areListed } = await findInstances(options.addresses, options.lookup).catch((cause: unknown) => {
        throw fail(ErrorReason.UNAVAILABLE, "The service has no address.", { cause });
      });
      forgetOthers(targets);
      const [faults, told] = await Promise.all([
        Promise.all(targets.map((target) => faultOf(clientOf(target)))),
        Promise.all(targets.map((target) => detailsOf(clientOf(target)))),
      ]);
      clocks = new Map(
        targets.flatMap((target, index) => {
          const aheadMs = told[index]?.aheadMs;
          return aheadMs === undefined ? [] : [[target, aheadMs] as const];
        }),
      );
      const serving = targets.filter((_target, index) => faults[index] === undefined);
      for (const target of serving) haveServed.add(target);
      if (serving.length > 0) {
        const isInstance = (target: string) => areListed || haveServed.has(target);
        const failing = targets.filter((target, index) => faults[index] !== undefined && isInstance(target));
        const ofServing = serving.map((target) => [target, told[targets.indexOf(target)]?.details] as const);
        const details = Object.fromEntries(ofServing.filter(([, one]) => one !== undefined));
        return { serving: serving.length, failing, ...(Object.keys(details).length === 0 ? {} : { details }) };
      }
      throw faults.find((fault) => reasonOf(fault) === ErrorReason.DATABASE_UNAVAILABLE) ?? faults[0];
    },
    clocks: () => clocks,
    async reports(limitMs) {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<readonly string[]>((resolve) => {
        timer = setTimeout(() => resolve([]), limitMs);
      });
      const found = findInstances(options.addresses, options.lookup).then(
        ({ targets }) => targets,
        () => [],
      );
      const targets = await Promise.race([found, late]);
      clearTimeout(timer);
      return Promise.all(targets.map(async (instance) => ({ instance, report: await reportOf(clientOf(instance), limitMs) })));
    },
    close() {
      for (const client of clients.values()) client.close();
      clients.clear();
    },
  };
}

async function faultOf(client: Client): Promise<Error | undefined> {
  const deadline = Date.now() + timeoutMs;
  try {
    if (await askServing(client, "", deadline)) return undefined;
    // An instance without a database does not know the name; the fault is its own.
    const hasDatabase = await askServing(client, databaseHealth, deadline).catch(() => true);
    if (!hasDatabase) return fail(ErrorReason.DATABASE_UNAVAILABLE, "The service's database does not answer.");
    return fail(ErrorReason.UNAVAILABLE, "The service is not ready.");
  } catch (cause) {
    return fail(ErrorReason.UNAVAILABLE, "The service does not answer.", { cause });
  }
}
