import type { DescMethod } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { status as codes, type ServiceError } from "@grpc/grpc-js";
import { retrying } from "../async/retrying.ts";
import { detailsKey } from "./grpc-metadata.ts";
import type { PlaneRequest } from "./plane.ts";

/** How long a call goes on looking for an instance that takes it: longer than the pause between two attempts to connect. */
const patienceMs = 3_000;
const firstPauseMs = 20;
const longestPauseMs = 320;
/** How often a call that may have been processed goes out again. */
const maxRepeats = 3;

/**
 * What grpc-js says of calls that no server has begun: there was no connection, or the server had said before that it takes no more. It tells these apart from
 * others by nothing but their texts; what it repeats by itself (once, after a refusal) does not come here.
 */
const neverBegun = /^(?:\S+: )?No connection established|^Stream refused by server$|^Failed to start HTTP\/2 stream/;

function isRepeatable(method: DescMethod): boolean {
  return method.idempotency !== MethodOptions_IdempotencyLevel.IDEMPOTENCY_UNKNOWN;
}

/** What the connection is at fault for, and not what a handler said. */
function isOfConnection({ code, details, metadata }: ServiceError): boolean {
  if (metadata?.get(detailsKey).length > 0) return false;
  // A server that is cut ends its streams so.
  return code === codes.UNAVAILABLE || (code === codes.CANCELLED && details === "Call cancelled");
}

function mayRepeat(method: DescMethod, error: unknown, attempts: number): boolean {
  const known = error as ServiceError;
  if (typeof known.code !== "number" || !isOfConnection(known)) return false;
  return neverBegun.test(known.details) || (isRepeatable(method) && attempts <= maxRepeats);
}

/**
 * Makes a call, and again where a connection failed it: a method that the contract calls free of side effects or idempotent always, any other
 * only when it is certain that no server has begun it. So an instance that ends costs no call while another one serves. Rejects with what
 * the last attempt did.
 */
export function repeatOverConnections<T>(request: PlaneRequest, attempt: () => Promise<T>): Promise<T> {
  let until: number | undefined;
  return retrying(attempt, {
    firstMs: firstPauseMs,
    longestMs: longestPauseMs,
    jitter: true,
    signal: request.signal,
    mayPass: (error, attempts) => !request.signal.aborted && mayRepeat(request.method, error, attempts),
    // Patience begins with the first failure: a call may have been answered late and still be repeated.
    patienceMs: () => {
      until ??= Math.min(Date.now() + patienceMs, request.deadline ?? Number.POSITIVE_INFINITY);
      return until - Date.now();
    },
  });
}
