import { once } from "node:events";
import { createServer } from "node:http";

/** A server outside of the system that records the requests of tools. */
export interface EffectCounter {
  readonly host: string;
  readonly url: string;
  /** Bodies of the requests received so far, in order. */
  readonly bodies: readonly string[];
  close(): Promise<void>;
}

/** Starts an effect counter on loopback. It responds to each request when `beforeAnswer` has resolved. */
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
