import { setTimeout as pause } from "node:timers/promises";
import { Metadata, type StatusObject } from "@grpc/grpc-js";
import { headersOf, statusOfError } from "./grpc-metadata.ts";

/**
 * Request metadata of a client that reads the error of a stream from its trailers. grpc-js drops the messages that its
 * caller has not read yet as soon as a status other than OK arrives, so the status of a stream that fails after its
 * first message is OK for such a client, and the trailers hold the error.
 */
export const lateErrorKey = "x-late-error";
const codeKey = "x-late-error-code";
const detailsKey = "x-late-error-message";

/**
 * Milliseconds between the last message of a failing stream and its error, for clients that do not announce
 * `lateErrorKey`: time to hand on the messages that arrived.
 */
export const beforeErrorMs = 50;
/** The time passes in steps, so that a process that stood still hands messages on before the error. */
const stepMs = 5;

/** Lets the messages of a stream arrive before its error. */
export async function beforeError(signal: AbortSignal): Promise<void> {
  for (let passedMs = 0; passedMs < beforeErrorMs && !signal.aborted; passedMs += stepMs) {
    await pause(stepMs, undefined, { signal }).catch(() => {});
  }
}

/** The trailers of a stream that failed with a status after its first message. */
export function lateTrailers({ code, details, metadata }: Partial<StatusObject>): Metadata {
  const trailers = metadata?.clone() ?? new Metadata();
  trailers.set(codeKey, String(code));
  trailers.set(detailsKey, encodeURIComponent((details ?? "").toWellFormed()));
  return trailers;
}

/** The same trailers for an error, as headers. */
export function lateTrailersOf(error: unknown): Headers {
  return headersOf(lateTrailers(statusOfError(error)));
}

/** The error in the trailers of a stream whose status is OK; undefined when there is none. */
export function lateErrorOf({ metadata }: Pick<StatusObject, "metadata">): StatusObject | undefined {
  const [code] = metadata.get(codeKey);
  if (code === undefined) return undefined;
  const [details = ""] = metadata.get(detailsKey);
  const rest = metadata.clone();
  for (const key of [codeKey, detailsKey]) rest.remove(key);
  return { code: Number(code), details: decodeURIComponent(String(details)), metadata: rest };
}
