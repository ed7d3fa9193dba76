import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { isEnding } from "./unread-bodies.ts";

const headEnd = Buffer.from("\r\n\r\n");
/**
 * Number of a connection's requests in flight, so that the next one need not wait for the last; further requests stay
 * unread.
 */
const atOnce = 2;

const endsLine = (byte: number | undefined) => byte === 13 || byte === 10;

/** Earliest possible end of the n-th request head; the end of the bytes when there are fewer. */
function endOfHead(bytes: Buffer, n: number): number {
  let end = 0;
  for (let i = 0; i < n; i += 1) {
    const at = bytes.indexOf(headEnd, end);
    if (at === -1) return bytes.length;
    end = at + headEnd.length;
  }
  return end;
}

/** A response that is told when a later request of its connection begins. */
type FollowedResponse = ServerResponse & { hasFollower?: boolean };

/**
 * An HTTP/1.1 connection with pipelining. Node would parse all requests of a read at once, some two thousand. Here only
 * a few are parsed; the rest waits, first in memory and then with the sender.
 */
export class PipelinedConnection {
  readonly #socket: Socket;
  readonly #parse: (bytes: Buffer) => void;
  readonly #onEnd: () => void;
  readonly #open = new Set<ServerResponse>();
  #newest: IncomingMessage | undefined;
  #newestResponse: FollowedResponse | undefined;
  /** Bytes read but not parsed; the socket is paused meanwhile. */
  #rest: Buffer | undefined;
  /** Bytes of the newest request's body that remain to be parsed, if known. */
  #bodyLeft = 0;
  /** Whether the last read ended (or may have ended) between the lines of a head. */
  #isLineOpen = false;
  /** The client has closed its side; Node's server is told after the rest is parsed. */
  #isEnded = false;
  #isTurnDue = false;

  /** Takes over reading from Node's server, which already listens to the socket. */
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
    // Node's server resumes the socket for a request's body, and when the client has read its responses.
    socket.on("resume", () => {
      if (this.#rest !== undefined) this.#take(this.#rest);
    });
  }

  /** Records a parsed request. */
  begin(request: IncomingMessage, response: FollowedResponse): void {
    if (this.#newestResponse !== undefined) this.#newestResponse.hasFollower = true;
    this.#newestResponse = response;
    this.#open.add(response);
    this.#newest = request;
  }

  /** Records a completed response. */
  end(response: ServerResponse): void {
    this.#open.delete(response);
    if (this.#rest === undefined || this.#isTurnDue) return;
    this.#isTurnDue = true;
    // In a separate turn of the event loop, so that one connection full of short requests does not block the others.
    setImmediate(() => {
      this.#isTurnDue = false;
      if (this.#rest === undefined) return;
      this.#take(this.#rest);
      if (this.#rest === undefined && !this.#isEnded) this.#socket.resume();
    });
  }

  /** Whether nothing may be parsed now; parsing continues when a response ends or data is read. */
  #isFull(): boolean {
    // Node's server itself stops reading while responses wait for the client, and resumes the socket.
    if ((this.#socket as Socket & { _paused?: boolean })._paused) return true;
    const newest = this.#newest;
    if (newest === undefined) return false;
    // A body that is not being read at the moment.
    if (!newest.complete) return newest.readableLength >= newest.readableHighWaterMark && !newest.destroyed;
    return this.#open.size >= atOnce;
  }

  /** Parses as much of the bytes as is allowed, and keeps the rest. */
  #take(read: Buffer): void {
    this.#rest = undefined;
    let bytes = read;
    while (!this.#socket.destroyed && !isEnding(this.#socket)) {
      if (this.#isFull()) {
        this.#rest = bytes;
        this.#socket.pause();
        return;
      }
      // A client that splits heads and bodies so that requests cannot be told apart is cut off.
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

  /** Parses the start of the bytes, at most as many requests as there is room for; returns the offset of the rest. */
  #parseOnce(bytes: Buffer): number {
    const room = Math.max(1, atOnce - this.#open.size);
    const before = this.#newest;
    const end = this.#bodyLeft > 0 ? Math.min(this.#bodyLeft, bytes.length) : endOfHead(bytes, room);
    this.#bodyLeft -= Math.min(this.#bodyLeft, end);
    this.#parse.call(this.#socket, end === bytes.length ? bytes : bytes.subarray(0, end));
    const newest = this.#newest;
    // The last request with room: its head ended exactly there, unless an earlier read began that end.
    const isSplit = this.#isLineOpen && endsLine(bytes[0]);
    if (room === 1 && newest !== undefined && newest !== before && !newest.complete && !isSplit) {
      this.#bodyLeft = Number(newest.headers["content-length"] ?? 0);
    }
    this.#isLineOpen = end === bytes.length && endsLine(bytes[end - 1]);
    return end;
  }
}
