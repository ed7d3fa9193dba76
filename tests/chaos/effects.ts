import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

/** The outside world: the effects of tools, by tool and call key. */
export interface Effects {
  readonly url: string;
  /** Number of effects per call key. */
  counts(tool: string): ReadonlyMap<string, number>;
  close(): Promise<void>;
}

/** Starts it on loopback. */
export async function startEffects(): Promise<Effects> {
  const byTool = new Map<string, Map<string, number>>();
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { tool, key } = JSON.parse(Buffer.concat(chunks).toString("utf8")) as { tool: string; key: string };
    const counts = byTool.get(tool) ?? new Map<string, number>();
    byTool.set(tool, counts.set(key, (counts.get(key) ?? 0) + 1));
    response.end("done");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/effects`,
    counts: (tool) => byTool.get(tool) ?? new Map(),
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}
