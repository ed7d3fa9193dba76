import { gzipSync } from "node:zlib";
import { create, toBinary } from "@bufbuild/protobuf";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { type CallOptions, Client, credentials, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { AgentService, SendMessageRequestSchema } from "@turnwright/contract/agent/v1/agent_service";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { ErrorReason, fail } from "../errors.ts";
import { createLogger } from "../logger.ts";
import { type GrpcServer, startGrpcServer } from "./grpc-server.ts";
import { errorInterceptor, validationInterceptor } from "./interceptors.ts";
import { mount } from "./mount.ts";

const logger = createLogger({ service: "test", level: "silent" });
let server: GrpcServer;
let client: Client;
beforeAll(async () => {
  server = await startGrpcServer({
    mounts: [mount(AgentService, { sendMessage: ({ message }: { message: string }) => ({ response: message }) } as never)],
    interceptors: [
      errorInterceptor(logger),
      (next) => (request) => {
        if (request.header.get("x-admitted") === null) throw fail(ErrorReason.UNAUTHENTICATED, "Not admitted.");
        return next(request);
      },
      validationInterceptor(),
    ],
    host: "127.0.0.1",
    port: 0,
    logger,
  });
  client = new Client(`127.0.0.1:${server.port}`, credentials.createInsecure());
});
afterAll(async () => {
  client.close();
  await server.close(0);
});

/** The status code of a call whose message is sent unchanged. */
function call(method: string, bytes: Buffer, admitted: boolean, options: CallOptions = {}): Promise<number> {
  const metadata = new Metadata();
  if (admitted) metadata.set("x-admitted", "yes");
  return new Promise((resolve) => {
    const path = `/turnwright.agent.v1.AgentService/${method}`;
    const asIs = (value: Buffer) => value;
    client.makeUnaryRequest(path, asIs, asIs, bytes, metadata, options, (error: ServiceError | null) => {
      resolve(error === null ? status.OK : error.code);
    });
  });
}

const million = Buffer.alloc(2_000_000).fill(Buffer.from([0x7a, 0x00]));

test("nothing of a message is decoded before its call is admitted", async () => {
  const tag = vi.spyOn(BinaryReader.prototype, "tag");
  try {
    expect(await call("SendMessage", million, false)).toBe(status.UNAUTHENTICATED);
    expect(await call("SendMessage", Buffer.from([0xff]), false)).toBe(status.UNAUTHENTICATED);
    // Upper bound of the bytes that the client itself reads of the error's details.
    expect(tag.mock.calls.length).toBeLessThan(50);
  } finally {
    tag.mockRestore();
  }
});

test("a malformed message is the caller's fault", async () => {
  expect(await call("SendMessage", Buffer.from([0xff]), true)).toBe(status.INVALID_ARGUMENT);
  expect(await call("SendMessage", Buffer.from([0x0a, 0x7f]), true)).toBe(status.INVALID_ARGUMENT);
});

test("a well-formed message is served", async () => {
  const request = create(SendMessageRequestSchema, { conversationId: "0190a000-0000-7000-8000-0000000000c0", message: "hello" });
  expect(await call("SendMessage", Buffer.from(toBinary(SendMessageRequestSchema, request)), true)).toBe(status.OK);
  expect(await call("SendMessage", gzipSync("x"), true)).toBe(status.INVALID_ARGUMENT);
});
