import { readFileSync } from "node:fs";

/** One end of an established connection of this machine. */
export interface Connection {
  readonly localPort: number;
  readonly remotePort: number;
  /** Bytes buffered for the far end. */
  readonly sending: number;
  /** Bytes buffered for this end. */
  readonly received: number;
}

const established = "01";

/**
 * The established IPv4 connections of this machine, as Linux lists them: connections over loopback appear once per end.
 */
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
