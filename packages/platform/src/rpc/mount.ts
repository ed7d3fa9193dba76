import type { DescService } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";

/** A service and its handlers, ready for any plane. */
export interface Mount<S extends DescService = DescService> {
  readonly service: S;
  readonly impl: ServiceImpl<S>;
}

/** Pairs a service with its handlers, which are written once and served by every plane. */
export function mount<S extends DescService>(service: S, impl: ServiceImpl<S>): Mount<S> {
  return { service, impl };
}

/** A service as the process runs it. */
export interface RunningService {
  /** The services it serves. */
  readonly mounts: readonly Mount[];
  /** Resolves when it can serve; rejects with the part that cannot (database, Redis, …). */
  ready(): Promise<void>;
  /** States of interest while it serves, such as an endpoint that fails, as JSON; undefined: none. For `/ready`. */
  details?(): Readonly<Record<string, unknown>> | undefined;
  /** Facts and figures of this process, as JSON, for the gateway alone. Absent: none. No secrets, no data of users. */
  report?(): Readonly<Record<string, unknown>>;
  /** Counts of the work that a shutdown waits for besides the plane's calls, for the log: `{runs: 2}`. Absent: none. */
  underWay?(): Readonly<Record<string, number>>;
  /**
   * Accepts no new work of its own and resolves when its background work has finished; when the limit fires, it stops
   * that work, so that it continues elsewhere. Calls in flight are drained by the plane. Absent when a service has no
   * background work.
   */
  drain?(limit: AbortSignal): Promise<void>;
  /** Releases pools, timers and subscriptions. */
  close(): Promise<void>;
}
