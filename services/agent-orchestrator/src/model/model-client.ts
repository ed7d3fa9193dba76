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

/** Is told of attempts that fail and are made again by the client itself. */
export interface RepeatListener {
  onRepeat(error: unknown): void;
}

/**
 * A model that serves chat completions in OpenAI's format. Bodies are JSON text in UTF-8.
 *
 * Reasons of its errors: MODEL_FAILED (unreachable, silent, broken off, 5xx), MODEL_RATE_LIMITED, MODEL_QUOTA,
 * MODEL_NOT_FOUND, CONTEXT_TOO_LONG, MODEL_UNPROCESSABLE, MODEL_REJECTED (other 4xx) and ANSWER_TOO_LARGE. The detail's
 * `code`, `type` and `param` are the endpoint's, as far as it names them.
 */
export interface ModelClient {
  /** Resolves with the bytes of an answer, at least one, as the endpoint sent them; they are not checked. */
  complete(body: Uint8Array, signal: AbortSignal, witness?: CallWitness, listener?: RepeatListener): Promise<Buffer>;
  /**
   * Resolves with the body of the answer, in pieces as they arrive, once its first byte is there: server-sent events,
   * or whatever else the endpoint sends. Throws like `complete`. The iteration throws MODEL_FAILED when the stream
   * breaks off, after the pieces that arrived before.
   */
  stream(body: Uint8Array, signal: AbortSignal, witness?: CallWitness, listener?: RepeatListener): Promise<AsyncIterable<Buffer>>;
  /** Names of the models that it serves; none when its list has another form. */
  listModels(signal: AbortSignal): Promise<string[]>;
  /** Closes the connections. */
  close(): Promise<void>;
}
