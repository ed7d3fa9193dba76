import { type DescMethod, getOption } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { status as codes, type ServiceError } from "@grpc/grpc-js";
import { repeatable, surface } from "@turnwright/contract/errors/v1/surface";
import { retrying } from "../async/retrying.ts";
import { detailsKey } from "./grpc-metadata.ts";
import { idempotencyKeyHeader } from "./idempotency-key.ts";
import type { PlaneRequest } from "./plane.ts";

/**
 * Milliseconds for which a call looks for an instance that accepts it: longer than the pause between two connection
 * attempts.
 */
export const defaultPatienceMs = 3_000;
const firstPauseMs = 20;
const longestPauseMs = 320;
/** How often a call is repeated that may have been processed. */
const maxRepeats = 3;

/**
 * Texts of grpc-js for calls that no server has begun: there was no connection, or the server had announced that it
 * accepts no more. grpc-js distinguishes these only by their text; calls that it repeats itself (once, after a refusal)
 * do not get here.
 */
const neverBegun = /^(?:\S+: )?No connection established|^Stream refused by server$|^Failed to start HTTP\/2 stream/;

type Repeatability = "always" | "keyed" | "never";

const repeatabilityByMethod = new Map<DescMethod, Repeatability>();

function repeatabilityOf(method: DescMethod): Repeatability {
  let known = repeatabilityByMethod.get(method);
  if (known === undefined) {
    const isKeyed = getOption(method, surface).idempotencyKey;
    const isDeclared = method.idempotency !== MethodOptions_IdempotencyLevel.IDEMPOTENCY_UNKNOWN;
    known = isDeclared || getOption(method, repeatable) ? "always" : isKeyed ? "keyed" : "never";
    repeatabilityByMethod.set(method, known);
  }
  return known;
}

/**
 * Whether a call may be processed twice: the contract declares its method free of side effects or idempotent, or the
 * client has sent an idempotency key to a method that takes one.
 */
export function isRepeatable({ method, header }: PlaneRequest): boolean {
  const known = repeatabilityOf(method);
  return known === "always" || (known === "keyed" && header.has(idempotencyKeyHeader));
}

/** Whether the connection failed the call, not a handler. */
export function isOfConnection({ code, details, metadata }: ServiceError): boolean {
  if (metadata?.get(detailsKey).length > 0) return false;
  // The status of streams on a server that was cut off.
  return code === codes.UNAVAILABLE || (code === codes.CANCELLED && details === "Call cancelled");
}

function mayRepeat(request: PlaneRequest, error: unknown, attempts: number): boolean {
  const known = error as ServiceError;
  if (typeof known.code !== "number" || !isOfConnection(known)) return false;
  return neverBegun.test(known.details) || (isRepeatable(request) && attempts <= maxRepeats);
}

/**
 * Makes a call and repeats it when a connection failed it: always when it may be processed twice, otherwise only when
 * certainly no server has begun it. An instance that shuts down therefore fails no call while another one serves.
 * Rejects with the error of the last attempt.
 */
export function repeatOverConnections<T>(
  request: PlaneRequest,
  patienceMs: number,
  attempt: (attempts: number) => Promise<T>,
): Promise<T> {
  let until: number | undefined;
  return retrying(attempt, {
    firstMs: firstPauseMs,
    longestMs: longestPauseMs,
    jitter: true,
    signal: request.signal,
    mayPass: (error, attempts) => !request.signal.aborted && mayRepeat(request, error, attempts),
    // Patience begins with the first failure: a call may run long before it fails, and still be repeated.
    patienceMs: () => {
      until ??= Math.min(Date.now() + patienceMs, request.deadline ?? Number.POSITIVE_INFINITY);
      return until - Date.now();
    },
  });
}
