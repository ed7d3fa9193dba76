import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";

const headEnd = Buffer.from("\r\n\r\n");
/** Requests of a connection that are under way at once; what is sent beyond waits unread. */
const atOnce = 8;

/** Where the n-th head of a request ends at the earliest; the end of the bytes when there are fewer. */
function endOfHead(bytes: Buffer, n: number): number {
  let end = 0;
  for (let i = 0; i < n; i += 1) {
    const at = bytes.indexOf(headEnd, end);
    if (at === -1) return bytes.length;
    end = at + headEnd.length;
  }
  return end;
}

/**
 * A connection of HTTP/1.1 on which a client may send requests ahead of their answers. Node parses all requests of a read at once, some two
 * thousand; here a few are, and the rest waits, first with us and then with its sender.
 */
export class PipelinedConnection {
  readonly #socket: Socket;
  readonly #parse: (bytes: Buffer) => void;
  readonly #open = new Set<ServerResponse>();
  #newest: IncomingMessage | undefined;
  #rest: Buffer | undefined;
  #isReading = false;
  #isTurnDue = false;

  /** Takes the reading over from Node's server, which listens to the socket already. */
  constructor(socket: Socket) {
    this.#socket = socket;
    const [parse] = socket.listeners("data") as ((bytes: Buffer) => void)[];
    if (parse === undefined) throw new Error("Node's HTTP server does not listen to its socket.");
    this.#parse = parse;
    socket.removeListener("data", parse);
    const read = () => this.#read();
    socket.on("readable", read);
    // A body that was held back is read on.
    socket.on("resume", read);
    socket.once("close", () => {
      // Node tells nobody of those that stand in line behind another.
      for (const response of [...this.#open]) {
        if (response.closed) continue;
        response.destroyed = true;
        response.emit("close");
      }
    });
  }

  /** A request was parsed. */
  begin(request: IncomingMessage, response: ServerResponse): void {
    this.#open.add(response);
    this.#newest = request;
    response.once("close", () => {
      this.#open.delete(response);
      // In a turn of its own, so that one connection full of short requests does not keep the others waiting.
      if (this.#rest === undefined || this.#isTurnDue) return;
      this.#isTurnDue = true;
      setImmediate(() => {
        this.#isTurnDue = false;
        this.#read();
      });
    });
  }

  /** Whether nothing may be parsed now; a response that ends, or a reader who takes something, lets it go on. */
  #isFull(): boolean {
    // Node's server holds reading back itself while answers wait for their reader, and resumes the socket.
    if ((this.#socket as Socket & { _paused?: boolean })._paused) return true;
    const newest = this.#newest;
    if (newest === undefined) return false;
    // A body that nobody reads at the moment.
    if (!newest.complete) return newest.readableLength >= newest.readableHighWaterMark && !newest.destroyed;
    return this.#open.size >= atOnce;
  }

  #read(): void {
    // The parser calls us back.
    if (this.#isReading) return;
    this.#isReading = true;
    try {
      while (!this.#socket.destroyed && !this.#isFull()) {
        const bytes = this.#rest ?? (this.#socket.read() as Buffer | null);
        if (bytes === null) return;
        // Bodies between the requests let more heads through than there is room for; who sends such is not one to wait for.
        if (this.#open.size >= 2 * atOnce) {
          this.#socket.destroy();
          return;
        }
        const end = endOfHead(bytes, Math.max(1, atOnce - this.#open.size));
        this.#rest = end < bytes.length ? bytes.subarray(end) : undefined;
        this.#parse.call(this.#socket, end < bytes.length ? bytes.subarray(0, end) : bytes);
      }
    } finally {
      this.#isReading = false;
    }
  }
}
