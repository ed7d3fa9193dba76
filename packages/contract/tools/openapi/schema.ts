import { type DescEnum, type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { FieldOptions_JSType } from "@bufbuild/protobuf/wkt";
import { descriptionOf } from "./comments.ts";
import type { JsonSchema } from "./openapi-types.ts";
import { constraintsOf, ignoresZero, isRequired, rulesOf, tracksPresence, zeroOf } from "./rules.ts";
import { wellKnownSchema } from "./well-known.ts";

/**
 * Which way a body goes. Requests carry the rules' constraints; in responses what may be unset may be null, and what is always
 * sent is required.
 */
export type Direction = "request" | "response";

/** Makes schemas of messages and keeps the shared ones under `components`. */
export interface Schemas {
  /** Where the shared schemas gather. */
  readonly components: Record<string, JsonSchema>;
  /** A schema that refers to the message's component. */
  reference(message: DescMessage, direction: Direction): JsonSchema;
  /** The message as an object schema in place, without the fields named in `omit`. */
  object(message: DescMessage, direction: Direction, omit?: ReadonlySet<string>): JsonSchema;
  /** The schema of one field. */
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
      // Protobuf's JSON writes 64-bit numbers as strings and reads both.
      return direction === "response" ? { type: "string" } : { type: ["integer", "string"] };
    default:
      return scalar satisfies never;
  }
}

function enumSchema(desc: DescEnum): JsonSchema {
  return { type: "string", enum: desc.values.map((value) => value.name) };
}

function nullable(schema: JsonSchema): JsonSchema {
  if (schema.$ref !== undefined) return { anyOf: [schema, { type: "null" }] };
  if (typeof schema.type !== "string") return schema;
  return {
    ...schema,
    type: [schema.type, "null"],
    ...(schema.enum === undefined ? {} : { enum: [...schema.enum, null] }),
  };
}

/** Adds what the rules say: to requests the constraints, to both directions the examples. */
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
 * An empty collection of schemas. `partial` names the message types of which only some fields are sent (events, OpenAI's bodies):
 * their responses require none. `reserved` names of components are never given to a message.
 */
export function createSchemas(partial: ReadonlySet<string>, reserved: readonly string[] = []): Schemas {
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
    const required = fields.filter((one) =>
      direction === "request" ? isRequired(one) : !partial.has(message.typeName) && !tracksPresence(one),
    );
    const description = descriptionOf(message);
    return {
      type: "object",
      ...(description === undefined ? {} : { description }),
      properties: Object.fromEntries(fields.map((one) => [one.name, field(one, direction)])),
      ...(required.length === 0 ? {} : { required: required.map((one) => one.name) }),
    };
  }

  function messageSchema(message: DescMessage, direction: Direction): JsonSchema {
    return wellKnownSchema(message) ?? reference(message, direction);
  }

  function element(one: DescField, direction: Direction): JsonSchema {
    if (one.message !== undefined) return messageSchema(one.message, direction);
    if (one.enum !== undefined) return enumSchema(one.enum);
    // A 64-bit field that its proto declares to be a number for JavaScript is one in REST answers.
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
