import { once } from "node:events";
import { connect, type Socket } from "node:net";

/** Types of HTTP/2 frames (RFC 9113, section 6). */
export const frameType = {
  data: 0,
  headers: 1,
  priority: 2,
  rstStream: 3,
  settings: 4,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

const endStream = 1;
/** The flag END_HEADERS. */
export const endHeaders = 4;
const acknowledged = 1;
const refusedStream = 7;
const initialWindowSize = 4;

/** A frame as bytes. */
export function frame(type: number, flags: number, stream: number, payload: Uint8Array = new Uint8Array()): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** SETTINGS payload of identifiers and values. */
export function settings(...pairs: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = Buffer.alloc(6 * pairs.length);
  for (const [at, [id, value]] of pairs.entries()) {
    payload.writeUInt16BE(id, 6 * at);
    payload.writeUInt32BE(value, 6 * at + 2);
  }
  return frame(frameType.settings, 0, 0, payload);
}

/** An HPACK integer with a 7-bit prefix and as many further bytes as needed. */
function hpackLength(length: number): Buffer {
  if (length < 127) return Buffer.from([length]);
  const bytes = [127];
  let rest = length - 127;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return Buffer.from([...bytes, rest]);
}

/** A header field as an HPACK literal without indexing. */
export function literal(name: string, value: string): Buffer {
  const text = (word: string) => [hpackLength(Buffer.byteLength(word)), Buffer.from(word)];
  return Buffer.concat([Buffer.from([0]), ...text(name), ...text(value)]);
}

/** A request over HTTP/2. */
export interface RawRequest {
  readonly method?: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
}

/** An HTTP/2 client that writes raw frames, so that it can send what libraries refuse to send, at almost no cost. */
export class RawHttp2 {
  readonly socket: Socket;
  /** Received frames, by type. */
  readonly received = new Map<number, number>();
  /** Streams answered with headers. */
  answered = 0;
  /** Streams refused before any work was done for them. */
  refused = 0;
  /** The code of the last GOAWAY. */
  goneWith: number | undefined;
  #rest: Buffer = Buffer.alloc(0);
  #nextStream = 1;
  /** Callbacks of pending pings, in order. */
  readonly #pings: (() => void)[] = [];

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("error", () => {});
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
    socket.on("close", () => {
      for (const settle of this.#pings.splice(0)) settle();
    });
  }

  /** Connects; each stream begins with a window of this many bytes. */
  static async open(port: number, window: number): Promise<RawHttp2> {
    const client = new RawHttp2(connect({ port, host: "127.0.0.1", noDelay: true }));
    await once(client.socket, "connect");
    client.socket.write(Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), settings([initialWindowSize, window])]));
    return client;
  }

  /** The frames of a request on a new stream. */
  request({ method = "GET", path, headers = {}, body }: RawRequest): Buffer {
    const stream = this.#nextStream;
    this.#nextStream += 2;
    const block = Buffer.concat([
      ...Object.entries({ ":method": method, ":scheme": "http", ":path": path, ":authority": "a", ...headers }).map(
        ([name, value]) => literal(name, value),
      ),
    ]);
    const head = frame(frameType.headers, endHeaders | (body === undefined ? endStream : 0), stream, block);
    return body === undefined ? head : Buffer.concat([head, frame(frameType.data, endStream, stream, body)]);
  }

  /** The stream of the last request. */
  get lastStream(): number {
    return this.#nextStream - 2;
  }

  #read(chunk: Buffer): void {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    while (this.#rest.length >= 9) {
      const end = 9 + this.#rest.readUIntBE(0, 3);
      if (this.#rest.length < end) return;
      this.#take(this.#rest.readUInt8(3), this.#rest.readUInt8(4), this.#rest.subarray(9, end));
      this.#rest = this.#rest.subarray(end);
    }
  }

  #take(type: number, flags: number, payload: Buffer): void {
    this.received.set(type, (this.received.get(type) ?? 0) + 1);
    if (type === frameType.settings && (flags & acknowledged) === 0) {
      this.socket.write(frame(frameType.settings, acknowledged, 0));
    }
    if (type === frameType.ping && (flags & acknowledged) !== 0) this.#pings.shift()?.();
    if (type === frameType.headers) this.answered += 1;
    if (type === frameType.rstStream && payload.readUInt32BE(0) === refusedStream) this.refused += 1;
    if (type === frameType.goAway) this.goneWith = payload.readUInt32BE(4);
  }

  /** Resolves when the socket accepts more data, or is closed. */
  taken(): Promise<void> {
    const { socket } = this;
    return new Promise((resolve) => {
      const done = () => {
        socket.off("drain", done);
        socket.off("close", done);
        resolve();
      };
      socket.on("drain", done);
      socket.on("close", done);
    });
  }

  /**
   * Resolves when the server has processed everything sent before: it answers a later ping, or has closed the
   * connection.
   */
  settled(): Promise<void> {
    if (this.socket.destroyed) return Promise.resolve();
    return new Promise((resolve) => {
      this.#pings.push(resolve);
      this.socket.write(frame(frameType.ping, 0, 0, new Uint8Array(8)));
    });
  }
}
