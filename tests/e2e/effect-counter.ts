import { once } from "node:events";
import { createServer } from "node:http";

/** A server outside of the system that remembers what tools did to it. */
export interface EffectCounter {
  readonly host: string;
  readonly url: string;
  /** Bodies of the requests so far, in order. */
  readonly bodies: readonly string[];
  close(): Promise<void>;
}

/** Starts an effect counter on loopback. What it counted it answers when `beforeAnswer` is done. */
export async function startEffectCounter(beforeAnswer?: (body: string) => Promise<unknown>): Promise<EffectCounter> {
  const bodies: string[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", async () => {
      const body = Buffer.concat(chunks).toString();
      bodies.push(body);
      await beforeAnswer?.(body);
      response.writeHead(200, { "content-type": "text/plain" }).end("received");
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  const host = `127.0.0.1:${port}`;
  return {
    host,
    url: `http://${host}/inbox`,
    bodies,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
