import { type DescMessage, fromJson, type JsonValue, type Message, type Registry } from "@bufbuild/protobuf";
import { base64Decode } from "@bufbuild/protobuf/wire";
import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { jsonExcess } from "@turnwright/platform/json/json-depth";
import { invalidRequest } from "@turnwright/platform/rpc/request-faults";
import { checkWire, decodeMessage } from "@turnwright/platform/rpc/wire-check";
import type { FastifyRequest } from "fastify";
import { readBody } from "../http/request-body.ts";
import { decoding, jsonFaults, readLeniently } from "../transcoding/json-faults.ts";
import { decompress } from "./decompression.ts";

/** Maximum number of fields of a binary message, nested messages included, and of values in a JSON one. */
export const maxMessageFields = 10_000;

/** The encoding of a call's message. */
export interface MessageFormat {
  /**
   * `query`: in the query of a Connect GET request. `body`: the whole body. `envelope`: after flags and a length, as in
   * gRPC, gRPC-web and Connect streams.
   */
  readonly place: "query" | "body" | "envelope";
  readonly isJson: boolean;
  /** Compression of the message, if any. */
  readonly encoding: string | undefined;
}

const prefixBytes = 5;
const compressedFlag = 1;

function invalid(why: string, cause?: unknown): Error {
  return fail(ErrorReason.INVALID_REQUEST, `body: ${why}`, { param: "body", cause });
}

/** The single message of an enveloped body. */
async function openEnvelope(body: Buffer, encoding: string | undefined, limit: number): Promise<Uint8Array> {
  if (body.length === 0) throw new ConnectError("protocol error: missing input message", Code.Unimplemented);
  if (body.length < prefixBytes) throw invalid("ends within the prefix of a message");
  const flags = body.readUInt8(0);
  const length = body.readUInt32BE(1);
  if (flags > compressedFlag) throw invalid(`unknown message flags ${flags}`);
  if (length > limit) throw fail(ErrorReason.TOO_LARGE, "The message is larger than this server accepts.");
  if (body.length < prefixBytes + length) throw invalid("ends within a message");
  if (body.length > prefixBytes + length) throw new ConnectError("protocol error: extra input message", Code.Unimplemented);
  const bytes = body.subarray(prefixBytes);
  if (flags !== compressedFlag) return bytes;
  if (encoding === undefined) {
    throw new ConnectError("protocol error: a message is compressed without a declared encoding", Code.Internal);
  }
  return decompress(encoding, bytes, limit);
}

function queryBytes(query: URLSearchParams): Uint8Array {
  const text = query.get("message") ?? "";
  if (query.get("base64") !== "1") return Buffer.from(text);
  try {
    return base64Decode(text);
  } catch (error) {
    throw fail(ErrorReason.INVALID_REQUEST, "message: not valid base64", { param: "message", cause: error });
  }
}

async function messageBytes(request: FastifyRequest, format: MessageFormat, limit: number): Promise<Uint8Array> {
  const { place, encoding } = format;
  if (place === "envelope") return openEnvelope(await readBody(request.raw, limit + prefixBytes), encoding, limit);
  const bytes =
    place === "query" ? queryBytes(new URL(request.url, "http://gateway").searchParams) : await readBody(request.raw, limit);
  return encoding === undefined ? bytes : decompress(encoding, bytes, limit);
}

/** The type of a message. */
export interface MessageType {
  readonly input: DescMessage;
  /** The types that `google.protobuf.Any` may hold in JSON. */
  readonly registry?: Registry;
}

function parseJson({ input, registry }: MessageType, bytes: Uint8Array): Message {
  const excess = jsonExcess(bytes, maxMessageFields);
  if (excess !== undefined) throw invalid(excess);
  let json: JsonValue;
  try {
    json = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8")) as JsonValue;
  } catch (error) {
    throw invalid(`not valid JSON (${(error as Error).message})`, error);
  }
  try {
    return fromJson(input, json, { ...decoding, registry });
  } catch (error) {
    const message = readLeniently(input, json);
    if (message !== undefined) return message;
    const faults = jsonFaults(input, json);
    throw faults.length === 0 ? invalid((error as Error).message, error) : invalidRequest(faults, error);
  }
}

function parseBinary(input: DescMessage, bytes: Uint8Array): Message {
  checkWire(input, bytes, maxMessageFields);
  return decodeMessage(input, bytes);
}

/**
 * Reads the message of an admitted call. Throws TOO_LARGE when it exceeds `limit` bytes, compressed or not, or has too
 * many fields, and INVALID_REQUEST when it does not match its headers.
 */
export async function readMessage(
  request: FastifyRequest,
  type: MessageType,
  format: MessageFormat,
  limit: number,
): Promise<Message> {
  const bytes = await messageBytes(request, format, limit);
  return format.isJson ? parseJson(type, bytes) : parseBinary(type.input, bytes);
}
