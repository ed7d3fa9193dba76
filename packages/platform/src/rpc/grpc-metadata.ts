import { Code, ConnectError } from "@connectrpc/connect";
import { findTrailerError, setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { Metadata, type StatusObject } from "@grpc/grpc-js";
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

/** Converts Headers to grpc-js metadata, without the fields that gRPC sets itself (`grpc-*`, content type). */
export function metadataOf(headers: HeadersLike): Metadata {
  const metadata = new Metadata();
  const entries = headers instanceof Headers ? headers : new Headers(headers);
  entries.forEach((value, key) => {
    if (key === "content-type" || key === "te" || key === "user-agent") return;
    if (key.startsWith("grpc-") && key !== detailsKey) return;
    if (key.endsWith("-bin")) for (const part of value.split(",")) metadata.add(key, Buffer.from(part.trim(), "base64"));
    else metadata.set(key, value);
  });
  return metadata;
}

/** Converts an error of grpc-js to a ConnectError with the server's typed details. */
export function errorOfStatus(status: Pick<StatusObject, "code" | "details" | "metadata">): ConnectError {
  const headers = status.metadata === undefined ? new Headers() : headersOf(status.metadata);
  const detailed = headers.has(detailsKey) ? findTrailerError(headers) : undefined;
  if (detailed !== undefined) return detailed;
  return new ConnectError(status.details, status.code in Code ? (status.code as number) : Code.Unknown, headers);
}

/** Converts an error to the status of a gRPC call. Anything but a ConnectError becomes INTERNAL without its message. */
export function statusOfError(error: unknown): Partial<StatusObject> {
  const known = error instanceof ConnectError ? error : new ConnectError("Something went wrong on our side.", Code.Internal);
  return { code: known.code as number, details: known.rawMessage, metadata: metadataOf(setTrailerStatus(new Headers(), known)) };
}
