/** The public plane as a server under test: started by the runner, which asks for it and stops it over its pipes. */
import type { Message } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import { callOf, startConformanceGateway } from "../../gateway/testing/conformance-gateway.ts";
import type { Field, ServerRequest } from "./messages.ts";
import { compileConformance } from "./schema.ts";
import { conformanceHandlers, framed, frames } from "./service.ts";

/** Largest message where the runner sets no limit, in bytes. */
const usualBytes = 8_388_608;

const schema = compileConformance();

/** The header fields of a request, from names and values in turn. */
function requestFields(raw: readonly string[]): Field[] {
  const fields = new Map<string, string[]>();
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = (raw[i] ?? "").toLowerCase();
    fields.set(name, [...(fields.get(name) ?? []), raw[i + 1] ?? ""]);
  }
  return [...fields].map(([name, value]) => ({ name, value }));
}

/** The call as the gateway admitted it: Connect sees an empty message and only the headers that it reads. */
function look<M>(_empty: M, context: HandlerContext) {
  const { message, request } = callOf(context);
  const headers = requestFields(request.raw.rawHeaders);
  const { searchParams } = new URL(request.url, "http://gateway");
  const names = [...new Set(searchParams.keys())];
  const query = context.requestMethod === "GET" ? names.map((name) => ({ name, value: searchParams.getAll(name) })) : undefined;
  return { message: message as M, headers, query };
}

for await (const asked of frames(schema.message("ServerCompatRequest"), process.stdin)) {
  const { messageReceiveLimit } = asked as Message & ServerRequest;
  const { port } = await startConformanceGateway({
    service: schema.service,
    impl: conformanceHandlers(schema, look),
    registry: schema.registry,
    messageBytes: messageReceiveLimit || usualBytes,
  });
  const response = schema.message("ServerCompatResponse");
  process.stdout.write(framed(response, create(response, { host: "127.0.0.1", port } as never)));
}
