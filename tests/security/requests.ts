import { request } from "node:http";

/** A request of a client, valid or not. */
export interface Ask {
  readonly method: string;
  readonly path: string;
  /** Headers by name, or as names and values in turn, which may repeat a name. */
  readonly headers?: Readonly<Record<string, string>> | readonly string[];
  readonly body?: string | Buffer;
  /** Disconnects after the first piece of the response, because some streams do not end by themselves. */
  readonly firstPiece?: boolean;
}

/** A response. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

function listOf(headers: Ask["headers"]): string[] {
  if (headers === undefined) return [];
  return Array.isArray(headers) ? [...headers] : Object.entries(headers).flat();
}

/** Sends a request and reads the whole response. Header values are sent as latin1 bytes. */
export function send(baseUrl: string, ask: Ask): Promise<Answer> {
  const { host, hostname, port } = new URL(baseUrl);
  const headers = ["host", host, ...listOf(ask.headers)];
  const names = headers.filter((_, index) => index % 2 === 0).map((name) => name.toLowerCase());
  if (ask.body !== undefined) {
    headers.push("content-length", String(Buffer.byteLength(ask.body)));
    if (!names.includes("content-type")) headers.push("content-type", "application/json");
  }
  return new Promise((resolve, reject) => {
    const outgoing = request({ hostname, port, method: ask.method, path: ask.path, headers: headers as never }, (incoming) => {
      const chunks: Buffer[] = [];
      const finish = () =>
        resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, body: Buffer.concat(chunks).toString("utf8") });
      incoming.on("data", (chunk) => {
        chunks.push(chunk);
        if (!ask.firstPiece) return;
        finish();
        outgoing.destroy();
      });
      incoming.on("end", finish);
      incoming.on("error", reject);
    });
    outgoing.on("error", reject);
    outgoing.end(ask.body);
  });
}
