/** Is told about a model call's fate on the wire, to compute its charge. */
export interface CallWitness {
  /** An attempt was sent: a connection took it, and the endpoint may read it. */
  onSent(): void;
  /** The endpoint refused the last attempt before a model worked on it. */
  onRefused(): void;
  /** Bytes of an answer that is not streamed have arrived. */
  onBytes(bytes: number): void;
  /**
   * Called before another attempt when the last one may have cost something. Rejects when the key cannot pay for
   * another one.
   */
  mayRepeat(): Promise<void>;
}

/** A model that serves chat completions in OpenAI's format. Bodies are JSON text in UTF-8. */
export interface ModelClient {
  /** Resolves with `{"object":"chat.completion",…}`. Throws MODEL_FAILED, MODEL_RATE_LIMITED or MODEL_REJECTED. */
  complete(body: Uint8Array, signal: AbortSignal, witness?: CallWitness): Promise<Buffer>;
  /**
   * Resolves with the server-sent events, in pieces as they arrive, once the model has accepted the request. Throws
   * like `complete`; the iteration throws MODEL_FAILED when the stream breaks off.
   */
  stream(body: Uint8Array, signal: AbortSignal, witness?: CallWitness): Promise<AsyncIterable<Buffer>>;
  /** Names of the models that it serves. */
  listModels(signal: AbortSignal): Promise<string[]>;
  /** Closes the connections. */
  close(): Promise<void>;
}
