import type { DescField, DescMessage } from "@bufbuild/protobuf";
import type { Surface } from "../../gen/turnwright/errors/v1/surface_pb.ts";
import { exampleOf } from "./examples.ts";
import { type Binding, fieldAt } from "./http-rule.ts";
import type { JsonSchema, Parameter } from "./openapi-types.ts";
import { isRequired } from "./rules.ts";
import type { Schemas } from "./schema.ts";
import { wellKnownSchema } from "./well-known.ts";

function parameter(place: "path" | "query", name: string, field: DescField, schemas: Schemas): Parameter {
  const { description, deprecated, ...schema }: JsonSchema = schemas.field(field, "request");
  const required = place === "path" || isRequired(field);
  const example = exampleOf({ ...schema, description }, schemas.components, field.name);
  return {
    name,
    in: place,
    required,
    ...(description === undefined ? {} : { description }),
    ...(deprecated === true ? { deprecated } : {}),
    // API pages send an example of the parameter, and only show one of its schema.
    ...(required ? { schema, example } : { schema: { ...schema, examples: [example] } }),
  };
}

/** Fields for the query string: scalars, enums, lists of these and well-known types. Nested fields are named `a.b`. */
function queryFields(message: DescMessage, prefix: string, open: readonly string[]): [string, DescField][] {
  return message.fields.flatMap((field): [string, DescField][] => {
    const name = `${prefix}${field.name}`;
    if (field.fieldKind === "map") return [];
    if (field.message === undefined || wellKnownSchema(field.message) !== undefined) return [[name, field]];
    if (field.fieldKind === "list" || open.includes(field.message.typeName)) return [];
    return queryFields(field.message, `${name}.`, [...open, field.message.typeName]);
  });
}

/** Header parameters of an endpoint, from its surface option. */
export function headerParametersOf({ idempotencyKey, lastEventIdField, headers }: Surface): Parameter[] {
  const header = (name: string, description: string, example: string): Parameter => ({
    name,
    in: "header",
    required: false,
    description,
    schema: { type: "string", examples: [example] },
  });
  return [
    ...(idempotencyKey
      ? [
          header(
            "Idempotency-Key",
            "1 to 255 visible ASCII characters, best a random UUID for each request. A repeated request under the same key has no further effect and returns the first response.",
            "5f0c6f0e-3a52-4d0b-9f6e-0d7c2a4b8e19",
          ),
        ]
      : []),
    ...(lastEventIdField === ""
      ? []
      : [header("Last-Event-ID", `Id of the last event received; the same as \`${lastEventIdField}\`.`, "0.18")]),
    ...headers.map(({ name, values, description }) => ({
      ...header(name, description, values[0] ?? ""),
      schema: { type: "string", enum: values, examples: [values[0] ?? ""] },
    })),
  ];
}

/** Path parameters of a route, then its query parameters: the fields that are neither in the path nor in the body. */
export function parametersOf(input: DescMessage, binding: Binding, schemas: Schemas): Parameter[] {
  const path = binding.pathFields.map((name) => parameter("path", name, fieldAt(input, name), schemas));
  if (binding.body === "*") return path;
  const taken = new Set([...binding.pathFields, binding.body]);
  const query = queryFields(input, "", [input.typeName]).filter(
    ([name]) => !taken.has(name) && !taken.has(name.split(".")[0] ?? ""),
  );
  return [...path, ...query.map(([name, field]) => parameter("query", name, field, schemas))];
}
