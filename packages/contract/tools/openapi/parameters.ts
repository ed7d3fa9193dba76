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

/** The request headers that an endpoint's annotation speaks of. */
export function headerParametersOf({ idempotencyKey, lastEventIdField }: Surface): Parameter[] {
  const header = (name: string, description: string, example: string): Parameter => ({
    name,
    in: "header",
    required: false,
    description,
    schema: { type: "string" },
    example,
  });
  return [
    ...(idempotencyKey
      ? [
          header(
            "Idempotency-Key",
            "1 to 255 visible ASCII characters. The same request under the same key is done once and answered alike.",
            "order-1337",
          ),
        ]
      : []),
    ...(lastEventIdField === ""
      ? []
      : [header("Last-Event-ID", `The id of the last event that was received; the same as \`${lastEventIdField}\`.`, "0.18")]),
  ];
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
