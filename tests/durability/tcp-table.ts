import { readFileSync } from "node:fs";

/** An established connection of this machine, seen from one of its ends. */
export interface Connection {
  readonly localPort: number;
  readonly remotePort: number;
  /** Bytes that the system holds for the far end. */
  readonly sending: number;
  /** Bytes that the system holds for this end. */
  readonly received: number;
}

const established = "01";

/** The established connections over IPv4 on this machine, as Linux lists them: each on loopback from both of its ends. */
export function establishedConnections(): Connection[] {
  const [, ...lines] = readFileSync("/proc/net/tcp", "latin1").trimEnd().split("\n");
  return lines.flatMap((line) => {
    const [, local = "", remote = "", state, queues = ""] = line.trim().split(/\s+/);
    if (state !== established) return [];
    const [localPort = 0, remotePort = 0] = [local, remote].map((address) => Number.parseInt(address.split(":")[1] ?? "", 16));
    const [sending = 0, received = 0] = queues.split(":").map((bytes) => Number.parseInt(bytes, 16));
    return [{ localPort, remotePort, sending, received }];
  });
}
