import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { isClosing } from "./unread-bodies.ts";

const headEnd = Buffer.from("\r\n\r\n");
/**
 * Requests of a connection that are under way at once, so that the next one need not wait for the last; what is sent
 * beyond waits unread.
 */
const atOnce = 2;

const endsLine = (byte: number | undefined) => byte === 13 || byte === 10;

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
 * A connection of HTTP/1.1 on which a client may send requests ahead of their answers. Node parses all requests of a
 * read at once, some two thousand; here a few are, and the rest waits, first with us and then with its sender.
 */
export class PipelinedConnection {
  readonly #socket: Socket;
  readonly #parse: (bytes: Buffer) => void;
  readonly #onEnd: () => void;
  readonly #open = new Set<ServerResponse>();
  #newest: IncomingMessage | undefined;
  /** What was read and is not parsed; the socket is paused meanwhile. */
  #rest: Buffer | undefined;
  /** Bytes of the newest request's body that are still to be parsed, where that is known. */
  #bodyLeft = 0;
  /** Whether the last read ended between the lines of a head, or could have. */
  #isLineOpen = false;
  /** The client has closed its side, which Node's server hears when the rest is parsed. */
  #isEnded = false;
  #isTurnDue = false;

  /** Takes the reading over from Node's server, which listens to the socket already. */
  constructor(socket: Socket) {
    this.#socket = socket;
    const [parse] = socket.listeners("data") as ((bytes: Buffer) => void)[];
    if (parse === undefined) throw new Error("Node's HTTP server does not listen to its socket.");
    this.#parse = parse;
    socket.removeListener("data", parse);
    socket.on("data", (bytes: Buffer) => this.#take(this.#rest === undefined ? bytes : Buffer.concat([this.#rest, bytes])));
    const onEnd = socket.listeners("end").at(-1) as () => void;
    socket.removeListener("end", onEnd);
    this.#onEnd = () => onEnd.call(socket);
    socket.on("end", () => {
      if (this.#rest === undefined) this.#onEnd();
      else this.#isEnded = true;
    });
    // Node's server resumes it for the body of a request, and when a reader has taken his answers.
    socket.on("resume", () => {
      if (this.#rest !== undefined) this.#take(this.#rest);
    });
  }

  /** A request was parsed. */
  begin(request: IncomingMessage, response: ServerResponse): void {
    this.#open.add(response);
    this.#newest = request;
  }

  /** A response is through. */
  end(response: ServerResponse): void {
    this.#open.delete(response);
    if (this.#rest === undefined || this.#isTurnDue) return;
    this.#isTurnDue = true;
    // In a turn of its own, so that one connection full of short requests does not keep the others waiting.
    setImmediate(() => {
      this.#isTurnDue = false;
      if (this.#rest === undefined) return;
      this.#take(this.#rest);
      if (this.#rest === undefined && !this.#isEnded) this.#socket.resume();
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

  /** Parses as much of what was read as may be, and keeps the rest. */
  #take(read: Buffer): void {
    this.#rest = undefined;
    let bytes = read;
    while (!this.#socket.destroyed && !isClosing(this.#socket)) {
      if (this.#isFull()) {
        this.#rest = bytes;
        this.#socket.pause();
        return;
      }
      // Who splits heads and bodies so that none can be told from the next is not waited for.
      if (this.#open.size >= 2 * atOnce) {
        this.#socket.destroy();
        return;
      }
      const end = this.#parseOnce(bytes);
      if (end === bytes.length) {
        // The last requests are answered first where that takes no time, as if all had been parsed at once.
        if (this.#isEnded) setImmediate(this.#onEnd);
        return;
      }
      bytes = bytes.subarray(end);
    }
  }

  /** Parses the beginning of some bytes, no more requests than there is room for; gives where it stopped. */
  #parseOnce(bytes: Buffer): number {
    const room = Math.max(1, atOnce - this.#open.size);
    const before = this.#newest;
    const end = this.#bodyLeft > 0 ? Math.min(this.#bodyLeft, bytes.length) : endOfHead(bytes, room);
    this.#bodyLeft -= Math.min(this.#bodyLeft, end);
    this.#parse.call(this.#socket, end === bytes.length ? bytes : bytes.subarray(0, end));
    const newest = this.#newest;
    // The last for which there is room: its head ended right there, unless that end was begun by an earlier read.
    const isSplit = this.#isLineOpen && endsLine(bytes[0]);
    if (room === 1 && newest !== undefined && newest !== before && !newest.complete && !isSplit) {
      this.#bodyLeft = Number(newest.headers["content-length"] ?? 0);
    }
    this.#isLineOpen = end === bytes.length && endsLine(bytes[end - 1]);
    return end;
  }
}
