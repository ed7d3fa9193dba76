/** The mesh's gRPC plane as a server under test: started by the runner, which asks for it and stops it. */
import { create, type Message } from "@bufbuild/protobuf";
import { createLogger } from "@turnwright/platform/logger";
import { startGrpcServer } from "@turnwright/platform/rpc/grpc-server";
import type { ServerRequest } from "./messages.ts";
import { compileConformance } from "./schema.ts";
import { conformanceHandlers, fieldsOf, framed, frames } from "./service.ts";

const schema = compileConformance();
const impl = conformanceHandlers(schema, (message, { requestHeader }) => ({ message, headers: fieldsOf(requestHeader) }));

for await (const asked of frames(schema.message("ServerCompatRequest"), process.stdin)) {
  const { messageReceiveLimit } = asked as Message & ServerRequest;
  const { port } = await startGrpcServer({
    mounts: [{ service: schema.service, impl }],
    interceptors: [],
    host: "127.0.0.1",
    port: 0,
    maxMessageBytes: messageReceiveLimit || undefined,
    logger: createLogger({ service: "conformance", level: "silent" }),
  });
  const response = schema.message("ServerCompatResponse");
  process.stdout.write(framed(response, create(response, { host: "127.0.0.1", port } as never)));
}
