import { create } from "@bufbuild/protobuf";
import type { Client, Transport } from "@connectrpc/connect";
import {
  CompletionService,
  ServerTools,
  StreamCompleteRequestSchema,
  StreamFormat,
} from "@turnwright/contract/agent/v1/completion_service";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { jsonExcess, maxCompletionValues } from "@turnwright/platform/json/json-depth";
import { once } from "@turnwright/platform/rpc/plane";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { type Admission, admissionRule, admitFirst } from "../admission/admit.ts";
import { callHeaders, callOptions } from "../admission/call-headers.ts";
import { disconnectSignal } from "../http/disconnect.ts";
import { restError } from "../http/error-body.ts";
import { forgetRequest } from "../http/forget-request.ts";
import { takeJsonBodies } from "../http/json-bodies.ts";
import { sendEventStream } from "../http/sse.ts";

/** Dependencies of the OpenAI surface. */
export interface OpenAiDeps {
  readonly completions: Client<typeof CompletionService>;
  /** Transport to the completion service. */
  readonly transport: Transport;
  readonly admission: Admission;
  /** Largest body, in bytes. */
  readonly bodyLimit: number;
  /** Deadline of unary calls, in milliseconds. */
  readonly callTimeoutMs: number;
  /** Silence after which a stream carries a comment, in milliseconds. */
  readonly heartbeatMs: number;
}

const errorContext = { errorCode: "CHAT_ERROR", isOpenAi: true };

const formats: Readonly<Record<string, StreamFormat>> = {
  openai: StreamFormat.OPENAI,
  seed: StreamFormat.SEED,
};

const serverToolsChoices: Readonly<Record<string, ServerTools>> = {
  on: ServerTools.ON,
  off: ServerTools.OFF,
};

/** The choice that a header names, in any case; 0, the unspecified one, without the header. Throws INVALID_REQUEST. */
function chosenBy<Choice extends number>(
  request: FastifyRequest,
  header: string,
  choices: Readonly<Record<string, Choice>>,
): Choice | 0 {
  const name = request.headers[header.toLowerCase()];
  if (name === undefined || name === "") return 0;
  const chosen = typeof name === "string" ? name.toLowerCase() : "";
  const choice = Object.hasOwn(choices, chosen) ? choices[chosen] : undefined;
  if (choice !== undefined) return choice;
  throw fail(ErrorReason.INVALID_REQUEST, `${header}: expected ${Object.keys(choices).join(" or ")}`, { param: header });
}

/** Whether the body asks for a stream. The orchestrator validates the body; here it only has to be JSON. */
function asksForStream(body: Buffer): boolean {
  // A search decides most requests; the others are parsed.
  if (!body.includes('"stream"')) return false;
  const excess = jsonExcess(body, maxCompletionValues);
  if (excess !== undefined) throw fail(ErrorReason.INVALID_REQUEST, `body: ${excess}`);
  let json: unknown;
  try {
    json = JSON.parse(body.toString("utf8"));
  } catch (error) {
    throw fail(ErrorReason.INVALID_REQUEST, `body: not valid JSON (${(error as Error).message})`, { cause: error });
  }
  return typeof json === "object" && json !== null && (json as { stream?: unknown }).stream === true;
}

/** A fastify plugin that serves OpenAI's endpoints. Bodies pass through as bytes in both directions. */
export function openAiPlugin(deps: OpenAiDeps) {
  return async (app: FastifyInstance): Promise<void> => {
    takeJsonBodies(app, /^application\/json\b/);

    const config = { errorContext, bodyBytes: deps.bodyLimit };
    const completeRule = admissionRule(CompletionService.method.complete);
    const modelsRule = admissionRule(CompletionService.method.listModels);

    app.post("/v1/chat/completions", { config, onRequest: admitFirst(deps.admission, completeRule) }, async (request, reply) => {
      const signal = disconnectSignal(request, reply);
      const { caller } = request;
      const body = request.body as Buffer | undefined;
      if (body === undefined || body.length === 0) throw fail(ErrorReason.INVALID_REQUEST, "body: expected a JSON object");
      const serverTools = chosenBy(request, "X-Server-Tools", serverToolsChoices);
      if (!asksForStream(body)) {
        const answer = await deps.completions.complete(
          { body, serverTools },
          callOptions(request, caller, signal, deps.callTimeoutMs),
        );
        reply.header("content-type", "application/json");
        const { buffer, byteOffset, byteLength } = answer.body;
        return reply.send(Buffer.from(buffer, byteOffset, byteLength));
      }
      const input = create(StreamCompleteRequestSchema, {
        body,
        serverTools,
        format: chosenBy(request, "X-Stream-Format", formats),
      });
      const headers = callHeaders(request, caller);
      forgetRequest(request);
      // Bypasses the client: its generators would cost as much per delta as everything else together.
      const call = deps.transport.stream(CompletionService.method.streamComplete, signal, undefined, headers, once(input));
      const batches = call.then(({ message }) => message);
      await sendEventStream(reply, batches, {
        write: (batch) => batch.frames,
        end: "",
        error: (error) => `data: ${JSON.stringify({ error: restError(error, errorContext).body.error })}\n\n`,
        heartbeatMs: deps.heartbeatMs,
        signal,
      });
      return reply;
    });

    app.get<{ Params: { "*": string } }>(
      "/v1/models/*",
      { config, onRequest: admitFirst(deps.admission, modelsRule) },
      async (request, reply) => {
        const signal = disconnectSignal(request, reply);
        const { caller } = request;
        const { data } = await deps.completions.listModels({}, callOptions(request, caller, signal, deps.callTimeoutMs));
        const id = request.params["*"];
        const model = data.find((candidate) => candidate.id === id);
        if (model === undefined)
          throw fail(ErrorReason.MODEL_NOT_FOUND, `The model ${JSON.stringify(id)} does not exist.`, { param: "model" });
        return reply.send({ id: model.id, object: model.object, created: model.created, owned_by: model.ownedBy });
      },
    );
  };
}
