import type { DescService } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";

/** A service and its handlers, ready for any plane. */
export interface Mount<S extends DescService = DescService> {
  readonly service: S;
  readonly impl: ServiceImpl<S>;
}

/** Pairs a service with its handlers; the handlers are written once and served by every plane. */
export function mount<S extends DescService>(service: S, impl: ServiceImpl<S>): Mount<S> {
  return { service, impl };
}

/** What every service hands to the process that runs it. */
export interface RunningService {
  /** What it serves. */
  readonly mounts: readonly Mount[];
  /** Resolves when it can serve; rejects with the part that cannot (database, Redis, …). */
  ready(): Promise<void>;
  /**
   * Takes up no work of its own any more, and resolves when what it has under way beside its calls is over; when the limit fires, it stops that, so
   * that it goes on elsewhere. The calls are for the plane to end. Absent where there is no such work.
   */
  drain?(limit: AbortSignal): Promise<void>;
  /** Releases pools, timers and subscriptions. */
  close(): Promise<void>;
}
