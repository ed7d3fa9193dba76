import { clientNetworks } from "@turnwright/platform/client-network";
import { ErrorReason, fail } from "@turnwright/platform/errors";

/** Milliseconds between two looks while somebody watches. */
const lookMs = 2_000;
/** Maximum number of watchers. */
const maxWatchers = 1_000;
/** Maximum number of watchers of one address; surrounding networks may have a multiple. */
const maxOfAddress = 100;

/** Whether the gateway and its parts serve, as the gRPC health service tells it. */
export interface ServingStatus {
  isServing(): Promise<boolean>;
  /**
   * The status now, and again at each change until the signal fires. Throws RATE_LIMITED for too many watchers, of this
   * client's address or in all.
   */
  watch(signal: AbortSignal, address: string): AsyncGenerator<boolean>;
}

/** Creates the status. All watchers share one look every two seconds; nothing runs without one. */
export function createServingStatus(readiness: () => Promise<{ readonly fault?: object }>): ServingStatus {
  const isServing = async () => (await readiness()).fault === undefined;
  const watchers = new Set<(serving: boolean) => void>();
  /** Watchers by the networks of their addresses. */
  const counts = new Map<string, number>();
  let timer: NodeJS.Timeout | undefined;
  const look = async () => {
    const serving = await isServing();
    for (const tell of watchers) tell(serving);
    if (watchers.size > 0) timer?.refresh();
  };
  const add = (tell: (serving: boolean) => void) => {
    watchers.add(tell);
    timer ??= setTimeout(() => void look(), lookMs).unref();
  };
  /** Counts a watcher; returns the function that takes it from the count again. */
  const admit = (address: string): (() => void) => {
    const networks = clientNetworks(address);
    if (watchers.size >= maxWatchers || networks.some(({ name, factor }) => (counts.get(name) ?? 0) >= maxOfAddress * factor)) {
      throw fail(ErrorReason.RATE_LIMITED, "Too many clients watch the health of this server.");
    }
    for (const { name } of networks) counts.set(name, (counts.get(name) ?? 0) + 1);
    return () => {
      for (const { name } of networks) {
        const left = (counts.get(name) ?? 0) - 1;
        if (left > 0) counts.set(name, left);
        else counts.delete(name);
      }
    };
  };
  const remove = (tell: (serving: boolean) => void) => {
    watchers.delete(tell);
    if (watchers.size > 0) return;
    clearTimeout(timer);
    timer = undefined;
  };

  return {
    isServing,
    async *watch(signal, address) {
      const leave = admit(address);
      let latest: boolean | undefined;
      let wake = () => {};
      const tell = (serving: boolean) => {
        latest = serving;
        wake();
      };
      const onAbort = () => wake();
      add(tell);
      signal.addEventListener("abort", onAbort, { once: true });
      try {
        latest = await isServing();
        let told: boolean | undefined;
        while (!signal.aborted) {
          if (latest !== told) {
            told = latest;
            yield told;
          }
          const next = Promise.withResolvers<void>();
          wake = next.resolve;
          if (latest === told && !signal.aborted) await next.promise;
        }
      } finally {
        signal.removeEventListener("abort", onAbort);
        remove(tell);
        leave();
      }
    },
  };
}
