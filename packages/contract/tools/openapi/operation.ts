import type { DescMessage } from "@bufbuild/protobuf";
import { Access } from "../../gen/turnwright/auth/v1/access_pb.ts";
import { descriptionOf, summaryOf } from "./comments.ts";
import { envelope } from "./envelope.ts";
import { endpointErrorResponse, errorResponse } from "./error-responses.ts";
import { exampleOf } from "./examples.ts";
import { fieldAt } from "./http-rule.ts";
import type { JsonSchema, MediaType, Operation, Response } from "./openapi-types.ts";
import { headerParametersOf, parametersOf } from "./parameters.ts";
import { explicitExample, requestBodyOf } from "./request-body.ts";
import type { Endpoint, Route } from "./routes.ts";
import type { Schemas } from "./schema.ts";

/** Shared schemas and message types. */
export interface OperationContext {
  readonly schemas: Schemas;
  /** Finds a message type by its full name. Throws if there is none. */
  readonly resolve: (typeName: string) => DescMessage;
}

const streamFrames =
  "As a stream: server-sent events, each a line `data: {json}` and an empty line, ending with `data: [DONE]`. " +
  'A stream that fails after its first byte ends with `data: {"error":…}` instead of `[DONE]`.';

function dataSchema(route: Route, { schemas, resolve }: OperationContext): JsonSchema {
  const { binding, method, surface } = route;
  if (surface.responseSchema !== "") return schemas.reference(resolve(surface.responseSchema), "response");
  if (binding.responseBody !== "") return schemas.field(fieldAt(method.output, binding.responseBody), "response");
  return schemas.reference(method.output, "response");
}

function unaryMedia(route: Route, context: OperationContext): MediaType {
  const schema = dataSchema(route, context);
  const example = explicitExample(route.surface.responseExample, route) ?? exampleOf(schema, context.schemas.components);
  if (route.surface.bare) return { schema, example };
  return { schema: envelope(schema), example: { success: true, data: example } };
}

/** The whole body is the text of one field. */
function rawMedia({ method, surface }: Route, { schemas }: OperationContext): MediaType {
  const field = fieldAt(method.output, surface.rawField);
  const schema = schemas.field(field, "response");
  return { schema, example: exampleOf(schema, schemas.components, field.name) };
}

/** A table without rows: its header line. */
function csvMedia({ method, surface }: Route): MediaType {
  const columns = fieldAt(method.output, surface.csvField).message?.fields ?? [];
  return { schema: { type: "string" }, example: `${columns.map(({ name }) => name).join(",")}\r\n` };
}

/** Schema and example describe one event: the JSON of a `data:` line. */
function streamMedia(route: Route, { schemas, resolve }: OperationContext): MediaType {
  const { eventSchema, responseExample } = route.surface;
  const schema = schemas.reference(eventSchema === "" ? route.method.output : resolve(eventSchema), "response");
  return { schema, example: explicitExample(responseExample, route) ?? exampleOf(schema, schemas.components) };
}

const successStatus = (route: Route): string => String(route.surface.successStatus || 200);

/**
 * Success responses of both forms. Forms with the same status share one response with both media types. A stream with
 * another status is described under `2XX`: API pages ask for the media type of the first response, and JSON orders
 * 200 before 201.
 */
function successResponses({ unary, stream }: Endpoint, context: OperationContext): Record<string, Response> {
  const responses: Record<string, Response> = {};
  if (unary !== undefined) {
    responses[successStatus(unary)] = {
      description: descriptionOf(unary.method.output) ?? "Success.",
      content:
        // While an option is new, the generated code does not know it.
        unary.surface.rawField
          ? { "text/plain": rawMedia(unary, context) }
          : {
              "application/json": unaryMedia(unary, context),
              ...(unary.surface.csvField ? { "text/csv": csvMedia(unary) } : {}),
            },
    };
  }
  if (stream !== undefined) {
    const status = unary === undefined || successStatus(unary) === successStatus(stream) ? successStatus(stream) : "2XX";
    const known = responses[status];
    responses[status] = {
      description:
        known === undefined
          ? `${status === "2XX" ? `Status ${successStatus(stream)}. ` : ""}${streamFrames}`
          : `${known.description}\n\n${streamFrames}`,
      content: { ...known?.content, "text/event-stream": streamMedia(stream, context) },
    };
  }
  return responses;
}

function errorResponsesOf(route: Route): Record<string, Response> {
  const { access, binding, surface } = route;
  return {
    "400": errorResponse("InvalidRequest"),
    ...(access === Access.PUBLIC ? {} : { "401": errorResponse("Unauthorized") }),
    ...(access === Access.PUBLIC ? {} : { "403": errorResponse("Forbidden") }),
    ...(binding.pathFields.length === 0 ? {} : { "404": errorResponse("NotFound") }),
    ...(surface.idempotencyKey ? { "422": errorResponse("IdempotencyKeyReused") } : {}),
    "429": errorResponse("RateLimited"),
    "500": errorResponse("InternalError"),
    ...(surface.errorCode === "" ? {} : { default: endpointErrorResponse(surface.errorCode) }),
  };
}

/** One requirement for each scope that admits an API key. A method without scopes needs a login. */
function securityOf({ access, scopes }: Route): Operation["security"] {
  if (access === Access.PUBLIC) return [];
  return scopes.length === 0 ? [{ bearerAuth: [] }] : scopes.map((scope) => ({ bearerAuth: [scope] }));
}

/** Operation of an endpoint, with the unary method, the streaming method or both. */
export function operationOf(endpoint: Endpoint, operationId: string, context: OperationContext): Operation {
  const first = endpoint.unary ?? endpoint.stream;
  if (first === undefined) throw new Error(`${endpoint.binding.path} has no method`);
  const comments = [endpoint.unary, endpoint.stream].flatMap((route) => (route && descriptionOf(route.method)) ?? []);
  const parameters = [...parametersOf(first.method.input, first.binding, context.schemas), ...headerParametersOf(first.surface)];
  const requestBody = requestBodyOf(endpoint, context.schemas, context.resolve);
  return {
    operationId,
    tags: [first.surface.tag || first.method.parent.name],
    ...(comments[0] === undefined ? {} : { summary: summaryOf(comments[0]), description: comments.join("\n\n") }),
    ...(first.method.proto.options?.deprecated === true ? { deprecated: true } : {}),
    security: securityOf(first),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(requestBody === undefined ? {} : { requestBody }),
    responses: { ...successResponses(endpoint, context), ...errorResponsesOf(first) },
  };
}
