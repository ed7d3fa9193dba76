import type { Dispatcher, Pool } from "undici";
import { ArrivingBody } from "./arriving-body.ts";
import { decodedBody, decodersOf } from "./content-decoding.ts";

/** A request to the model's endpoint. */
export interface ExchangeRequest {
  readonly path: string;
  readonly method: "GET" | "POST";
  readonly headers: Record<string, string>;
  readonly body?: Uint8Array;
  /** Milliseconds from the request's start on a connection to the first byte of the response's body. */
  readonly firstByteMs: number;
  /** Called when a connection takes the request. */
  readonly onSent?: () => void;
}

/** A response whose head has arrived and whose body, decoded, follows. The body is read once. */
export interface ExchangeResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: ArrivingBody;
}

/** No byte of an answer has arrived in time. */
export class FirstByteTimeout extends Error {
  override readonly name = "FirstByteTimeout";
}

/** Whether an error is undici's of this code. */
function isOf(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}

/** Whether an endpoint was silent for too long, before its answer or in the middle of it. */
export function isTimeout(error: unknown): boolean {
  return error instanceof FirstByteTimeout || isOf(error, "UND_ERR_HEADERS_TIMEOUT") || isSilence(error);
}

/** Whether an endpoint was silent for too long in the middle of its answer. */
export function isSilence(error: unknown): boolean {
  return isOf(error, "UND_ERR_BODY_TIMEOUT");
}

/**
 * Sends a request on a pool and resolves with the head of its response. Built on undici's dispatch, without a stream
 * object for each body: a completion costs little more than its bytes. The signal closes the connection, before the
 * head and after it. Rejects with UnknownEncoding when the body cannot be decoded.
 */
export function exchange(pool: Pool, request: ExchangeRequest, signal: AbortSignal): Promise<ExchangeResponse> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    let controller: Dispatcher.DispatchController | undefined;
    let body: ArrivingBody | undefined;
    let timer: NodeJS.Timeout | undefined;
    const onAbort = () => {
      controller?.abort(signal.reason);
      reject(signal.reason);
    };
    signal.addEventListener("abort", onAbort, { once: true });
    const settled = (error?: Error) => {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
      body?.end(error);
    };
    pool.dispatch(
      { path: request.path, method: request.method, headers: request.headers, body: (request.body ?? null) as Buffer | null },
      {
        onRequestStart(opened) {
          controller = opened;
          if (signal.aborted) {
            opened.abort(signal.reason);
            return;
          }
          // undici would count the head and the first byte of the body apart.
          timer = setTimeout(() => opened.abort(new FirstByteTimeout("The endpoint was silent.")), request.firstByteMs);
          request.onSent?.();
        },
        onResponseStart(opened, status, headers) {
          if (status < 200) return;
          const encoded = new ArrivingBody(opened);
          body = encoded;
          try {
            const plain = decodersOf(headers["content-encoding"]).reduce(decodedBody, encoded);
            resolve({ status, headers, body: plain });
          } catch (error) {
            opened.abort(error as Error);
            reject(error);
          }
        },
        onResponseData(_opened, piece) {
          if (timer !== undefined) {
            clearTimeout(timer);
            timer = undefined;
          }
          body?.push(piece);
        },
        onResponseEnd: () => settled(),
        onResponseError(_opened, error) {
          settled(error);
          reject(error);
        },
      },
    );
  });
}
