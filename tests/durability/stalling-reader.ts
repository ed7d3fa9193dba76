import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";

/** A request for a stream. */
export interface StreamRequest {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly body?: object;
  readonly lastEventId?: string;
}

/** One received event. */
export interface ReceivedEvent {
  /** Value of its `id:` line; empty if there is none. */
  readonly id: string;
  readonly data: string;
}

/** A reader with its own connection. */
export interface StreamReader {
  /** Its local port, by which the kernel lists the connection. */
  readonly port: number;
  /** Reads until the stream ends or breaks. Returns all complete events from the first one on, and whether it broke. */
  rest(): Promise<{ events: ReceivedEvent[]; isBroken: boolean }>;
}

/** The complete events in a text; text after the last empty line is not an event yet. */
function eventsIn(text: string): ReceivedEvent[] {
  const parts = text.split("\n\n").slice(0, -1);
  return parts.flatMap((part) => {
    const lines = part.split("\n");
    const field = (name: string) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
    const data = field("data");
    return data === undefined ? [] : [{ id: field("id") ?? "", data }];
  });
}

/** Sends a request and reads up to the first event; reading stops until `rest` is called. */
export async function openReader(
  baseUrl: string,
  token: string,
  { method, path, body, lastEventId }: StreamRequest,
): Promise<StreamReader> {
  const sent = request(baseUrl + path, {
    method,
    agent: false,
    headers: {
      authorization: `Bearer ${token}`,
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...(lastEventId === undefined ? {} : { "last-event-id": lastEventId }),
    },
  });
  sent.end(body === undefined ? undefined : JSON.stringify(body));
  const [response] = (await once(sent, "response")) as [IncomingMessage];
  const port = response.socket.localPort ?? 0;
  const decoder = new TextDecoder();
  const pieces: string[] = [];
  const ended = Promise.withResolvers<boolean>();
  // A reset of a connection that is not being read emits an error on the request, not on the response.
  sent.once("error", () => ended.resolve(true));
  response.once("error", () => ended.resolve(true));
  response.once("end", () => ended.resolve(false));
  const first = Promise.withResolvers<void>();
  let isStalled = false;
  response.on("data", (chunk: Buffer) => {
    pieces.push(decoder.decode(chunk, { stream: true }));
    // A keep-alive comment is not an event.
    if (isStalled || eventsIn(pieces.join("")).length === 0) return;
    isStalled = true;
    response.pause();
    first.resolve();
  });
  void ended.promise.then(() => first.resolve());
  await first.promise;
  if (response.statusCode !== 200) throw new Error(`${method} ${path}: ${response.statusCode} ${pieces.join("")}`);
  return {
    port,
    async rest() {
      response.resume();
      const isBroken = await ended.promise;
      return { events: eventsIn(pieces.join("")), isBroken };
    },
  };
}
