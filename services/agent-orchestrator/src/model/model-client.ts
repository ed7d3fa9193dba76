/** Hears what becomes of a model call on the wire, for whoever pays for it. */
export interface CallWitness {
  /** A try is on its way: the connection is there, and the endpoint may read it. */
  onSent(): void;
  /** The endpoint refused the last try before a model worked on it. */
  onRefused(): void;
  /** Bytes have come of an answer that comes as a whole. */
  onBytes(bytes: number): void;
  /** Asked before another try when the last one may have cost something. Rejects when nobody pays for another. */
  mayRepeat(): Promise<void>;
}

/** A model that serves chat completions in OpenAI's format. Bodies are JSON text in UTF-8. */
export interface ModelClient {
  /** Answers `{"object":"chat.completion",…}`. Throws MODEL_FAILED, MODEL_RATE_LIMITED or MODEL_REJECTED. */
  complete(body: Uint8Array, signal: AbortSignal, witness?: CallWitness): Promise<Buffer>;
  /**
   * Answers server-sent events, in pieces as they come off the wire. Resolves once the model accepted the request;
   * throws as above, and MODEL_FAILED from the iteration when the stream breaks.
   */
  stream(body: Uint8Array, signal: AbortSignal, witness?: CallWitness): Promise<AsyncIterable<Buffer>>;
  /** Names of the models it serves. */
  listModels(signal: AbortSignal): Promise<string[]>;
  /** Closes connections. */
  close(): Promise<void>;
}
