import { createHash } from "node:crypto";

/** Names a system among those that share a Redis: 12 hexadecimal digits, the same in all processes with its secret. */
export function systemId(meshSecret: string): string {
  return createHash("sha256").update(meshSecret).digest("hex").slice(0, 12);
}
