import { setDefaultHighWaterMark } from "node:stream";

/** Bytes that wait in a stream before its source is held back. */
const waitingBytes = 16_384;
/** Bytes that small buffers are cut from together. */
const pooledBytes = 8_192;

/**
 * Has this process hold little for readers who do not read: streams wait with less than Node's 64 KiB, and a buffer that waits does not keep 64 KiB of
 * others alive. For the whole process, since neither HTTP/2 nor grpc-js has an option for it; called before connections are made.
 */
export function useSmallBuffers(): void {
  setDefaultHighWaterMark(false, waitingBytes);
  Buffer.poolSize = pooledBytes;
}
