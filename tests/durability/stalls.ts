import { setTimeout as delay } from "node:timers/promises";
import { establishedConnections } from "./tcp-table.ts";

/** What became of a reader that stopped reading. */
export interface Stall {
  /** From the last byte that the system took for it until its connection was gone, in milliseconds; undefined while it is there. */
  readonly cutAfterMs: number | undefined;
  /** Bytes that the system held for it. */
  readonly heldBySystem: number;
}

const lookMs = 100;

/**
 * Follows connections to a server, by their clients' ports, until they are gone or `untilMs` has passed since the last of them stalled. `onStalled` is called once, when for all of them
 * the system has taken nothing for `settleMs`.
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
      // Only more is news: the list is no picture of one moment, and one end of a connection may be gone from it before the other.
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
