import { type DescEnum, type DescField, type DescMessage, getOption, ScalarType } from "@bufbuild/protobuf";
import { FieldOptions_JSType } from "@bufbuild/protobuf/wkt";
import { ignores_unknown as ignoresUnknown } from "../../gen/turnwright/errors/v1/surface_pb.ts";
import { descriptionOf } from "./comments.ts";
import type { JsonSchema } from "./openapi-types.ts";
import { constraintsOf, ignoresZero, isRequired, rulesOf, tracksPresence, zeroOf } from "./rules.ts";
import { wellKnownSchema } from "./well-known.ts";

/**
 * Direction of a body. Request schemas have the rules' constraints, and optional fields may be null. In response
 * schemas, fields with presence may be null and all others are required, except deprecated ones.
 */
export type Direction = "request" | "response";

/** Builds schemas of messages and collects the shared ones in `components`. */
export interface Schemas {
  /** Shared schemas by name. */
  readonly components: Record<string, JsonSchema>;
  /** Reference to the message's component. */
  reference(message: DescMessage, direction: Direction): JsonSchema;
  /** The message as an inline object schema, without the fields in `omit`. */
  object(message: DescMessage, direction: Direction, omit?: ReadonlySet<string>): JsonSchema;
  /** Schema of a field. */
  field(field: DescField, direction: Direction): JsonSchema;
}

function scalarSchema(scalar: ScalarType, direction: Direction): JsonSchema {
  switch (scalar) {
    case ScalarType.STRING:
      return { type: "string" };
    case ScalarType.BOOL:
      return { type: "boolean" };
    case ScalarType.BYTES:
      return { type: "string", contentEncoding: "base64" };
    case ScalarType.DOUBLE:
      return { type: "number", format: "double" };
    case ScalarType.FLOAT:
      return { type: "number", format: "float" };
    case ScalarType.INT32:
    case ScalarType.SINT32:
    case ScalarType.SFIXED32:
      return { type: "integer", format: "int32" };
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return { type: "integer", minimum: 0 };
    case ScalarType.INT64:
    case ScalarType.SINT64:
    case ScalarType.SFIXED64:
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      // Protobuf's JSON writes 64-bit integers as strings and accepts both.
      return direction === "response" ? { type: "string" } : { type: ["integer", "string"] };
    default:
      return scalar satisfies never;
  }
}

function enumSchema(desc: DescEnum): JsonSchema {
  return { type: "string", enum: desc.values.map((value) => value.name) };
}

const nothing: JsonSchema = { type: "null" };

function nullable(schema: JsonSchema): JsonSchema {
  const { $ref, type, anyOf } = schema;
  if ($ref !== undefined) {
    const { $ref: _, ...rest } = schema;
    return { anyOf: [{ $ref }, nothing], ...rest };
  }
  const types = type === undefined ? [] : Array.isArray(type) ? type : [type];
  // A schema without a type allows null already.
  if (types.length === 0 || types.includes("null")) return schema;
  return {
    ...schema,
    type: [...types, "null"],
    ...(schema.enum === undefined ? {} : { enum: [...schema.enum, null] }),
    ...(anyOf === undefined ? {} : { anyOf: [...anyOf, nothing] }),
  };
}

/** Adds the rules' constraints (requests only) and examples. */
function ruled(schema: JsonSchema, field: DescField, direction: Direction): JsonSchema {
  const rules = rulesOf(field);
  if (rules === undefined) return schema;
  const { examples, ...constraints } = constraintsOf(rules, field);
  const shown = examples === undefined ? {} : { examples };
  if (direction === "response") return { ...schema, ...shown };
  if (!ignoresZero(rules) || Object.keys(constraints).length === 0) return { ...schema, ...constraints, ...shown };
  return { ...schema, ...shown, anyOf: [constraints, { const: zeroOf(field) }] };
}

/**
 * Creates an empty collection of schemas. `partial` names message types whose responses omit fields (events, OpenAI's
 * bodies) and therefore require none, `foreign` those whose requests may have fields that the contract does not know.
 * `reserved` component names are not used for messages.
 */
export function createSchemas(
  { partial, foreign }: { partial: ReadonlySet<string>; foreign: ReadonlySet<string> },
  reserved: readonly string[] = [],
): Schemas {
  const components: Record<string, JsonSchema> = {};
  const owners = new Map(reserved.map((name) => [name, ""]));

  function componentName(message: DescMessage, direction: Direction): string {
    const local = message.typeName.slice(message.file.proto.package.length + 1);
    const suffix = direction === "request" && !local.endsWith("Request") ? "Input" : "";
    const owner = `${direction} ${message.typeName}`;
    for (const name of [`${local}${suffix}`, `${message.typeName}${suffix}`]) {
      if ((owners.get(name) ?? owner) === owner) {
        owners.set(name, owner);
        return name;
      }
    }
    throw new Error(`no name is left for the schema of ${message.typeName}`);
  }

  function reference(message: DescMessage, direction: Direction): JsonSchema {
    const name = componentName(message, direction);
    if (components[name] === undefined) {
      components[name] = {};
      components[name] = object(message, direction);
    }
    return { $ref: `#/components/schemas/${name}` };
  }

  function object(message: DescMessage, direction: Direction, omit: ReadonlySet<string> = new Set()): JsonSchema {
    const fields = message.fields.filter((one) => !omit.has(one.name));
    const isAlwaysSent = (one: DescField) =>
      !partial.has(message.typeName) && !tracksPresence(one) && one.proto.options?.deprecated !== true;
    const required = fields.filter((one) => (direction === "request" ? isRequired(one) : isAlwaysSent(one)));
    const description = descriptionOf(message);
    return {
      type: "object",
      ...(description === undefined ? {} : { description }),
      properties: Object.fromEntries(
        fields.map((one) => {
          const schema = field(one, direction);
          // In a request, null is an absent field.
          return [one.name, direction === "request" && !required.includes(one) ? nullable(schema) : schema];
        }),
      ),
      ...(required.length === 0 ? {} : { required: required.map((one) => one.name) }),
      ...(direction === "request" && !foreign.has(message.typeName) && !getOption(message, ignoresUnknown)
        ? { additionalProperties: false }
        : {}),
    };
  }

  function messageSchema(message: DescMessage, direction: Direction): JsonSchema {
    return wellKnownSchema(message) ?? reference(message, direction);
  }

  function element(one: DescField, direction: Direction): JsonSchema {
    if (one.message !== undefined) return messageSchema(one.message, direction);
    if (one.enum !== undefined) return enumSchema(one.enum);
    // Fields with jstype JS_NUMBER are numbers in REST responses.
    if (one.proto.options?.jstype === FieldOptions_JSType.JS_NUMBER) return { type: "integer", format: "int64" };
    return one.scalar === undefined ? {} : scalarSchema(one.scalar, direction);
  }

  function listOrMap(one: DescField, direction: Direction): JsonSchema {
    const rules = direction === "request" ? rulesOf(one)?.type : undefined;
    const value = element(one, direction);
    if (one.fieldKind === "list") {
      const items = rules?.case === "repeated" ? rules.value.items : undefined;
      return { type: "array", items: items === undefined ? value : { ...value, ...constraintsOf(items, one) } };
    }
    const { keys, values } = rules?.case === "map" ? rules.value : {};
    return {
      type: "object",
      ...(keys === undefined ? {} : { propertyNames: constraintsOf(keys, one) }),
      additionalProperties: values === undefined ? value : { ...value, ...constraintsOf(values, one) },
    };
  }

  function field(one: DescField, direction: Direction): JsonSchema {
    const base = one.fieldKind === "list" || one.fieldKind === "map" ? listOrMap(one, direction) : element(one, direction);
    const value = ruled(direction === "response" && tracksPresence(one) ? nullable(base) : base, one, direction);
    const description = descriptionOf(one);
    return {
      ...value,
      ...(description === undefined ? {} : { description }),
      ...(one.proto.options?.deprecated === true ? { deprecated: true } : {}),
    };
  }

  return { components, reference, object, field };
}
