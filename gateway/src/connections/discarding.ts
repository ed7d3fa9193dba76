import type { Socket } from "node:net";

/** Bounds on what is read of a connection after its final response. */
export interface DiscardBounds {
  /** Bytes; further ones stay with the operating system, whose flow control slows the client. */
  readonly mostBytes: number;
  /** Time for which a connection is kept open for its client to read the response, in milliseconds. */
  readonly longestMs: number;
  /** Time for which its client may be silent meanwhile, in milliseconds. */
  readonly silentMs: number;
}

/** A client that sends first the largest body that any configuration accepts still gets to read its response. */
const usualBounds: DiscardBounds = { mostBytes: 67_108_864, longestMs: 30_000, silentMs: 5_000 };
/** Bytes that are read of all such connections together in a turn. */
const bytesPerTurn = 2_097_152;
const turnMs = 10;

let left = bytesPerTurn;
let isTurnDue = false;
/** Connections that wait for the next turn. */
const waiting = new Set<Socket>();

function nextTurn(): void {
  isTurnDue = false;
  left = bytesPerTurn;
  for (const socket of [...waiting]) {
    waiting.delete(socket);
    if (!socket.destroyed) socket.resume();
  }
}

/** Counts bytes against the turn; returns whether there may be more in it. */
function spend(bytes: number): boolean {
  left -= bytes;
  if (!isTurnDue) {
    isTurnDue = true;
    setTimeout(nextTurn, turnMs).unref();
  }
  return left > 0;
}

/**
 * Reads and discards what a client still sends on a connection whose sending side has ended, within bounds of bytes,
 * time and processor time; then destroys it.
 */
export function discard(socket: Socket, { mostBytes, longestMs, silentMs } = usualBounds): void {
  let rest = mostBytes;
  let isHeard = true;
  const cut = () => socket.destroy();
  const timer = setTimeout(cut, longestMs).unref();
  const silence = setInterval(() => {
    if (!isHeard && !waiting.has(socket)) cut();
    isHeard = false;
  }, silentMs).unref();
  socket.once("close", () => {
    clearTimeout(timer);
    clearInterval(silence);
    waiting.delete(socket);
  });
  socket.on("data", (chunk: Buffer) => {
    isHeard = true;
    rest -= chunk.length;
    if (rest < 0) socket.pause();
    else if (!spend(chunk.length)) {
      socket.pause();
      waiting.add(socket);
    }
  });
  socket.once("end", cut);
  socket.resume();
}
