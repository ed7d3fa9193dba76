/** Streams of grpc-js that hold little while nothing happens. */
import { getDefaultHighWaterMark, setDefaultHighWaterMark } from "node:stream";
import type { DescMessage, DescService, MessageShape } from "@bufbuild/protobuf";
import type { ClientReadableStream, Metadata } from "@grpc/grpc-js";
import { headersOf } from "./grpc-metadata.ts";
import type { PlaneRequest } from "./plane.ts";

/** Messages read ahead of the consumer. */
const aheadMessages = 2;

/**
 * Opens a call whose stream reads at most `aheadMessages` ahead, and which keeps no stack trace: that of grpc-js would
 * show its own functions. grpc-js has no option for either, and Node's default counts messages regardless of their
 * size.
 */
export function openLean<T>(open: () => T): T {
  const usual = getDefaultHighWaterMark(true);
  const { stackTraceLimit } = Error;
  setDefaultHighWaterMark(true, aheadMessages);
  Error.stackTraceLimit = 0;
  try {
    return open();
  } finally {
    setDefaultHighWaterMark(true, usual);
    Error.stackTraceLimit = stackTraceLimit;
  }
}

/** The call inside a stream of grpc-js that waits for its connection, with the request that waits with it. */
interface WaitingCall {
  readonly call?: { readonly call?: { pendingMessage?: unknown } };
}

/** Frees the request of a call that was sent: grpc-js would keep it for as long as the stream lives. */
export function forgetRequest(call: ClientReadableStream<unknown>): void {
  const waiting = (call as unknown as WaitingCall).call?.call;
  if (waiting?.pendingMessage != null) waiting.pendingMessage = null;
}

/** A stream's messages, and its headers and trailers, converted on first access: most calls read neither. */
export class GrpcStreamResponse {
  readonly stream = true;
  readonly service: DescService;
  readonly method: never;
  message: AsyncIterable<MessageShape<DescMessage>>;
  #began: Metadata | undefined;
  #ended: Metadata | undefined;
  #header: Headers | undefined;
  #trailer: Headers | undefined;

  constructor({ service, method }: PlaneRequest, message: AsyncIterable<MessageShape<DescMessage>>) {
    this.service = service;
    this.method = method as never;
    this.message = message;
  }

  /** Takes the fields of the stream's head. */
  begin(metadata: Metadata): void {
    this.#began = metadata;
  }

  /** Takes the fields of the stream's end. */
  end(metadata: Metadata): void {
    this.#ended = metadata;
    if (this.#trailer !== undefined) this.#fill(this.#trailer, metadata);
  }

  get header(): Headers {
    this.#header ??= this.#began === undefined ? new Headers() : headersOf(this.#began);
    return this.#header;
  }

  /** Filled when the stream has ended. */
  get trailer(): Headers {
    if (this.#trailer === undefined) {
      this.#trailer = new Headers();
      if (this.#ended !== undefined) this.#fill(this.#trailer, this.#ended);
    }
    return this.#trailer;
  }

  #fill(trailer: Headers, metadata: Metadata): void {
    headersOf(metadata).forEach((value, key) => {
      trailer.append(key, value);
    });
  }
}
