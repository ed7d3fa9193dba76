import { setDefaultHighWaterMark } from "node:stream";

/** Bytes buffered in a stream before its source is paused. */
const waitingBytes = 16_384;
/** Size of the slab from which small buffers are allocated, in bytes. */
const pooledBytes = 8_192;

/**
 * Limits the memory that this process holds for slow readers: streams buffer less than Node's default of 64 KiB, and a
 * waiting buffer does not keep 64 KiB of others alive. Applies to the whole process, because neither HTTP/2 nor grpc-js
 * has an option for it; call it before the first connection.
 */
export function useSmallBuffers(): void {
  setDefaultHighWaterMark(false, waitingBytes);
  Buffer.poolSize = pooledBytes;
}
