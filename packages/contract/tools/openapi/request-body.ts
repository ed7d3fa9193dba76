import { isDeepStrictEqual } from "node:util";
import type { DescMessage, JsonValue } from "@bufbuild/protobuf";
import { exampleOf } from "./examples.ts";
import { fieldAt } from "./http-rule.ts";
import type { JsonSchema, MediaType, NamedExample, Operation } from "./openapi-types.ts";
import { type Endpoint, methodName, type Route } from "./routes.ts";
import { isRequired } from "./rules.ts";
import type { Schemas } from "./schema.ts";

type Resolve = (typeName: string) => DescMessage;

/** Parses the example in a surface option. Throws with the method's name if it is not JSON. */
export function explicitExample(text: string, route: Route): JsonValue | undefined {
  if (text === "") return undefined;
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new Error(`${methodName(route.method)}: its example is not JSON: ${text}`, { cause });
  }
}

interface Body {
  readonly schema: JsonSchema;
  readonly required: boolean;
  readonly example: JsonValue;
}

function bodySchema(route: Route, schemas: Schemas, resolve: Resolve): { schema: JsonSchema; required: boolean } | undefined {
  const { binding, method, surface } = route;
  if (binding.body === "") return undefined;
  if (surface.requestSchema !== "") {
    return { schema: schemas.reference(resolve(surface.requestSchema), "request"), required: true };
  }
  if (binding.body !== "*") {
    const field = fieldAt(method.input, binding.body);
    return { schema: schemas.field(field, "request"), required: isRequired(field) };
  }
  const schema = schemas.object(method.input, "request", new Set(binding.pathFields));
  if (Object.keys(schema.properties ?? {}).length === 0) return undefined;
  return { schema, required: schema.required !== undefined };
}

function bodyOf(route: Route | undefined, schemas: Schemas, resolve: Resolve): Body | undefined {
  if (route === undefined) return undefined;
  const body = bodySchema(route, schemas, resolve);
  if (body === undefined) return undefined;
  const example = explicitExample(route.surface.requestExample, route) ?? exampleOf(body.schema, schemas.components);
  return { ...body, example };
}

const withoutDescription = ({ description, ...schema }: JsonSchema): JsonSchema => schema;

/** A field that only the streamed form takes. */
function inStreams(schema: JsonSchema): JsonSchema {
  return { ...schema, description: `${schema.description ?? ""} Only with \`stream\`.`.trim() };
}

/** Schema for both forms of an endpoint: the union of their properties if shared ones are equal, else `anyOf`. */
function mergeSchemas(unary: JsonSchema, stream: JsonSchema): JsonSchema {
  if (isDeepStrictEqual(unary, stream)) return unary;
  const { properties: left, properties: _ = left } = unary;
  const right = stream.properties;
  if (left === undefined || right === undefined) return { anyOf: [unary, stream] };
  const onlyStreamed: Record<string, JsonSchema> = {};
  for (const [name, schema] of Object.entries(left)) {
    const other = right[name];
    if (other !== undefined && !isDeepStrictEqual(withoutDescription(schema), withoutDescription(other))) {
      return { anyOf: [unary, stream] };
    }
  }
  const required = (unary.required ?? []).filter((name) => stream.required?.includes(name));
  const { required: _required, ...rest } = unary;
  for (const [name, schema] of Object.entries(right)) {
    if (left[name] === undefined && name !== "stream") onlyStreamed[name] = inStreams(schema);
  }
  return { ...rest, properties: { ...right, ...onlyStreamed, ...left }, ...(required.length === 0 ? {} : { required }) };
}

function merge(unary: Body, stream: Body, names: { unary: string; stream: string }): MediaType {
  const schema = mergeSchemas(unary.schema, stream.schema);
  if (isDeepStrictEqual(unary.example, stream.example)) return { schema, example: unary.example };
  const examples: Record<string, NamedExample> = {
    [names.unary]: { summary: "Answered at once", value: unary.example },
    [names.stream]: { summary: "Answered as a stream", value: stream.example },
  };
  return { schema, examples };
}

/** Request body of an endpoint, for both forms. Undefined if there is none. */
export function requestBodyOf(endpoint: Endpoint, schemas: Schemas, resolve: Resolve): Operation["requestBody"] {
  const unary = bodyOf(endpoint.unary, schemas, resolve);
  const stream = bodyOf(endpoint.stream, schemas, resolve);
  const only = unary ?? stream;
  if (only === undefined) return undefined;
  if (unary === undefined || stream === undefined) {
    return { required: only.required, content: { "application/json": { schema: only.schema, example: only.example } } };
  }
  const names = { unary: endpoint.unary?.method.name ?? "", stream: endpoint.stream?.method.name ?? "" };
  return { required: unary.required && stream.required, content: { "application/json": merge(unary, stream, names) } };
}
