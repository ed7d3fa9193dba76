import { Code, ConnectError } from "@connectrpc/connect";
import { findTrailerError, setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { Metadata, type StatusObject } from "@grpc/grpc-js";
import { cutText } from "../errors.ts";
import type { HeadersLike } from "./plane.ts";

/** Metadata key of an error's typed details; only handlers send them. */
export const detailsKey = "grpc-status-details-bin";

/** Converts grpc-js metadata to Headers; binary values become base64 without padding, as Connect expects. */
export function headersOf(metadata: Metadata): Headers {
  const headers = new Headers();
  for (const key in metadata.getMap()) {
    for (const value of metadata.get(key)) {
      headers.append(key, typeof value === "string" ? value : value.toString("base64").replace(/=+$/, ""));
    }
  }
  return headers;
}

/** Metadata whose binary values are sent without padding, as gRPC asks of senders. */
class SentMetadata extends Metadata {
  override clone(): SentMetadata {
    const copy = new SentMetadata(this.getOptions());
    copy.merge(this);
    return copy;
  }

  override toHttp2Headers(): ReturnType<Metadata["toHttp2Headers"]> {
    const fields = super.toHttp2Headers();
    for (const key in fields) {
      if (!key.endsWith("-bin")) continue;
      const value = fields[key];
      if (typeof value === "string") fields[key] = withoutPadding(value);
      else if (Array.isArray(value)) fields[key] = value.map(withoutPadding);
    }
    return fields;
  }
}

const withoutPadding = (base64: string) => base64.replace(/=+$/, "");

/** Adds fields to the metadata of a response. */
export function addTo(metadata: Metadata | null | undefined, fields: Headers): void {
  metadata?.merge(metadataOf(fields));
}

/** The trailers of a call that succeeded: without grpc-js's own status message `OK`, which only errors may have. */
export function okTrailers(trailer: Headers): Metadata {
  const metadata = metadataOf(trailer);
  metadata.set("grpc-message", "");
  return metadata;
}

/** Converts Headers to grpc-js metadata, without the fields that gRPC sets itself (`grpc-*`, content type). */
export function metadataOf(headers: HeadersLike): Metadata {
  const metadata = new SentMetadata();
  const entries = headers instanceof Headers ? headers : new Headers(headers);
  entries.forEach((value, key) => {
    if (key === "content-type" || key === "te" || key === "user-agent") return;
    if (key.startsWith("grpc-") && key !== detailsKey) return;
    if (key.endsWith("-bin")) for (const part of value.split(",")) metadata.add(key, Buffer.from(part.trim(), "base64"));
    else metadata.set(key, value);
  });
  return metadata;
}

/**
 * Converts an error of grpc-js to a ConnectError with the server's typed details; its metadata has the trailers and the
 * headers of the call.
 */
export function errorOfStatus(status: Pick<StatusObject, "code" | "details" | "metadata">, header?: Metadata): ConnectError {
  const fields = status.metadata === undefined ? new Headers() : headersOf(status.metadata);
  const detailed = fields.has(detailsKey) ? findTrailerError(fields) : undefined;
  const error =
    detailed ?? new ConnectError(status.details, status.code in Code ? (status.code as number) : Code.Unknown, fields);
  if (header !== undefined) {
    headersOf(header).forEach((value, key) => {
      if (!error.metadata.has(key)) error.metadata.set(key, value);
    });
  }
  return error;
}

/**
 * Longest message of an error, in UTF-16 units. It crosses in two header fields, percent-encoded and in base64: up to
 * 52 KiB of the 64 KiB that HTTP/2 sends as headers at once.
 */
const maxMessage = 4_000;

/** The same error with a message that a header carries: neither too long nor with a lone surrogate. */
function sendable(error: ConnectError): ConnectError {
  const message = cutText(error.rawMessage, maxMessage);
  if (message === error.rawMessage) return error;
  const known = new ConnectError(message, error.code, error.metadata);
  known.details = error.details;
  return known;
}

/** Converts an error to the status of a gRPC call. Anything but a ConnectError becomes INTERNAL without its message. */
export function statusOfError(error: unknown): Partial<StatusObject> {
  const known =
    error instanceof ConnectError ? sendable(error) : new ConnectError("Something went wrong on our side.", Code.Internal);
  return { code: known.code as number, details: known.rawMessage, metadata: metadataOf(setTrailerStatus(new Headers(), known)) };
}
