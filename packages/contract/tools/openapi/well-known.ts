import type { DescMessage } from "@bufbuild/protobuf";
import type { JsonSchema } from "./openapi-types.ts";

const schemas: Readonly<Record<string, JsonSchema>> = {
  "google.protobuf.Timestamp": { type: "string", format: "date-time" },
  "google.protobuf.Duration": { type: "string", pattern: "^-?[0-9]+(\\.[0-9]{1,9})?s$", examples: ["1.5s"] },
  "google.protobuf.Struct": { type: "object", additionalProperties: true },
  // Any JSON value.
  "google.protobuf.Value": {},
  "google.protobuf.ListValue": { type: "array", items: {} },
  "google.protobuf.FieldMask": { type: "string", examples: ["name,updated_at"] },
  "google.protobuf.Empty": { type: "object" },
  "google.protobuf.Any": {
    type: "object",
    properties: { "@type": { type: "string", examples: ["type.googleapis.com/google.protobuf.Empty"] } },
    required: ["@type"],
    additionalProperties: true,
  },
  "google.protobuf.BoolValue": { type: ["boolean", "null"] },
  "google.protobuf.StringValue": { type: ["string", "null"] },
  "google.protobuf.BytesValue": { type: ["string", "null"], contentEncoding: "base64" },
  "google.protobuf.DoubleValue": { type: ["number", "null"], format: "double" },
  "google.protobuf.FloatValue": { type: ["number", "null"], format: "float" },
  "google.protobuf.Int32Value": { type: ["integer", "null"], format: "int32" },
  "google.protobuf.UInt32Value": { type: ["integer", "null"], minimum: 0 },
  "google.protobuf.Int64Value": { type: ["string", "integer", "null"] },
  "google.protobuf.UInt64Value": { type: ["string", "integer", "null"] },
};

/** Schema of a type with a special form in protobuf's JSON. Undefined for all other messages. */
export function wellKnownSchema(message: DescMessage): JsonSchema | undefined {
  const schema = schemas[message.typeName];
  return schema === undefined ? undefined : { ...schema };
}
