import { Code, ConnectError } from "@connectrpc/connect";
import { findTrailerError, setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { Metadata, type StatusObject } from "@grpc/grpc-js";
import type { HeadersLike } from "./plane.ts";

/** Where the typed details of an error travel; only handlers send them. */
export const detailsKey = "grpc-status-details-bin";

/** grpc-js metadata as Headers; binary values as base64 without padding, as Connect expects them. */
export function headersOf(metadata: Metadata): Headers {
  const headers = new Headers();
  for (const key in metadata.getMap()) {
    for (const value of metadata.get(key)) {
      headers.append(key, typeof value === "string" ? value : value.toString("base64").replace(/=+$/, ""));
    }
  }
  return headers;
}

/** Headers as grpc-js metadata; what gRPC sets by itself (`grpc-*`, content type) is left out. */
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

/** An error of grpc-js as ConnectError, with the typed details of the server. */
export function errorOfStatus(status: Pick<StatusObject, "code" | "details" | "metadata">): ConnectError {
  const headers = status.metadata === undefined ? new Headers() : headersOf(status.metadata);
  const detailed = headers.has(detailsKey) ? findTrailerError(headers) : undefined;
  if (detailed !== undefined) return detailed;
  return new ConnectError(status.details, status.code in Code ? (status.code as number) : Code.Unknown, headers);
}

/** An error as the status that ends a gRPC call. What is no ConnectError leaves as INTERNAL without its message. */
export function statusOfError(error: unknown): Partial<StatusObject> {
  const known = error instanceof ConnectError ? error : new ConnectError("Something went wrong on our side.", Code.Internal);
  return { code: known.code as number, details: known.rawMessage, metadata: metadataOf(setTrailerStatus(new Headers(), known)) };
}
