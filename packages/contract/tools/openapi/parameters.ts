import type { DescField, DescMessage } from "@bufbuild/protobuf";
import { exampleOf } from "./examples.ts";
import { type Binding, fieldAt } from "./http-rule.ts";
import type { JsonSchema, Parameter } from "./openapi-types.ts";
import type { Endpoint } from "./routes.ts";
import { isRequired } from "./rules.ts";
import type { Schemas } from "./schema.ts";
import { wellKnownSchema } from "./well-known.ts";

function parameter(place: "path" | "query", name: string, field: DescField, schemas: Schemas): Parameter {
  const { description, deprecated, ...schema }: JsonSchema = schemas.field(field, "request");
  return {
    name,
    in: place,
    required: place === "path" || isRequired(field),
    ...(description === undefined ? {} : { description }),
    ...(deprecated === true ? { deprecated } : {}),
    schema,
    example: exampleOf({ ...schema, description }, schemas.components, field.name),
  };
}

/** Fields that a query string carries: scalars, enums, lists of them and well-known types; fields of messages as `a.b`. */
function queryFields(message: DescMessage, prefix: string, open: readonly string[]): [string, DescField][] {
  return message.fields.flatMap((field): [string, DescField][] => {
    const name = `${prefix}${field.name}`;
    if (field.fieldKind === "map") return [];
    if (field.message === undefined || wellKnownSchema(field.message) !== undefined) return [[name, field]];
    if (field.fieldKind === "list" || open.includes(field.message.typeName)) return [];
    return queryFields(field.message, `${name}.`, [...open, field.message.typeName]);
  });
}

/** The header parameters of an endpoint, by the surface of either of its forms. */
export function headersOf({ stream }: Endpoint, schemas: Schemas): Parameter[] {
  const resumed = stream?.surface.lastEventIdField ?? "";
  if (stream === undefined || resumed === "") return [];
  const { schema, example } = parameter("query", resumed, fieldAt(stream.method.input, resumed), schemas);
  const description = "The id of the last event that the client has: the stream goes on after it.";
  return [{ name: "Last-Event-ID", in: "header", required: false, description, schema, example }];
}

/** The path parameters of a route, then its query parameters: what neither path nor body carries. */
export function parametersOf(input: DescMessage, binding: Binding, schemas: Schemas): Parameter[] {
  const path = binding.pathFields.map((name) => parameter("path", name, fieldAt(input, name), schemas));
  if (binding.body === "*") return path;
  const taken = new Set([...binding.pathFields, binding.body]);
  const query = queryFields(input, "", [input.typeName]).filter(
    ([name]) => !taken.has(name) && !taken.has(name.split(".")[0] ?? ""),
  );
  return [...path, ...query.map(([name, field]) => parameter("query", name, field, schemas))];
}
