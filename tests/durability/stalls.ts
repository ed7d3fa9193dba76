import { setTimeout as delay } from "node:timers/promises";
import { establishedConnections } from "./tcp-table.ts";

/** The fate of a reader that stopped reading. */
export interface Stall {
  /**
   * Milliseconds from the last byte that the kernel took for it until its connection was gone; undefined: still there.
   */
  readonly cutAfterMs: number | undefined;
  /** Bytes that the kernel buffered for it. */
  readonly heldBySystem: number;
}

const lookMs = 100;

/**
 * Follows connections to a server, by their clients' ports, until they are gone or `untilMs` has passed since the last
 * of them stalled. Calls `onStalled` once, when the kernel has taken nothing for any of them for `settleMs`.
 */
export async function followStalls(
  serverPort: number,
  ports: readonly number[],
  options: { settleMs: number; untilMs: number; onStalled: () => Promise<void> },
): Promise<Stall[]> {
  const followed = new Map(ports.map((port) => [port, { held: -1, since: 0, cutAt: undefined as number | undefined }]));
  let told: Promise<void> | undefined;
  for (;;) {
    const now = performance.now();
    const held = new Map<number, number>();
    const clients = new Set<number>();
    for (const { localPort, remotePort, sending, received } of establishedConnections()) {
      const isClient = remotePort === serverPort && followed.has(localPort);
      if (isClient) clients.add(localPort);
      if (isClient) held.set(localPort, (held.get(localPort) ?? 0) + received);
      if (localPort === serverPort && followed.has(remotePort)) held.set(remotePort, (held.get(remotePort) ?? 0) + sending);
    }
    for (const [port, stall] of followed) {
      if (stall.cutAt !== undefined) continue;
      if (!clients.has(port)) stall.cutAt = now;
      // Only growth counts: the table is not an atomic snapshot, and one end of a connection may leave it before the
      // other.
      else if ((held.get(port) ?? 0) > stall.held) Object.assign(stall, { held: held.get(port) ?? 0, since: now });
    }
    const open = [...followed.values()].filter(({ cutAt }) => cutAt === undefined);
    if (open.length === 0) break;
    if (told === undefined && open.every(({ since }) => now - since >= options.settleMs)) told = options.onStalled();
    if (open.every(({ since }) => now - since >= options.untilMs)) break;
    await delay(lookMs);
  }
  await told;
  return [...followed.values()].map(({ held, since, cutAt }) => ({
    heldBySystem: held,
    cutAfterMs: cutAt === undefined ? undefined : cutAt - since,
  }));
}
