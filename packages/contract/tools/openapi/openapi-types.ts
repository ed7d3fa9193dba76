import type { JsonObject, JsonValue } from "@bufbuild/protobuf";

/** The keywords of JSON Schema (draft 2020-12, as in OpenAPI 3.1) that this generator uses. */
export interface JsonSchema {
  $ref?: string;
  type?: string | string[];
  format?: string;
  description?: string;
  deprecated?: boolean;
  const?: JsonValue;
  enum?: JsonValue[];
  minLength?: number;
  maxLength?: number;
  pattern?: string;
  contentEncoding?: string;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
  items?: JsonSchema;
  minItems?: number;
  maxItems?: number;
  uniqueItems?: boolean;
  properties?: Record<string, JsonSchema>;
  required?: string[];
  additionalProperties?: boolean | JsonSchema;
  propertyNames?: JsonSchema;
  minProperties?: number;
  maxProperties?: number;
  anyOf?: JsonSchema[];
  examples?: JsonValue[];
}

/** A named example, for bodies with several. */
export interface NamedExample {
  summary?: string;
  value: JsonValue;
}

/** Media type of a body: its schema, and either `example` or `examples`. */
export interface MediaType {
  schema: JsonSchema;
  example?: JsonValue;
  examples?: Record<string, NamedExample>;
}

/** A path, query or header parameter. */
export interface Parameter {
  name: string;
  in: "path" | "query" | "header";
  required: boolean;
  description?: string;
  deprecated?: boolean;
  schema: JsonSchema;
  /** Of required parameters only: API pages fill it in, where absence works in every system. */
  example?: JsonValue;
}

/** A response header. */
export interface Header {
  description: string;
  schema: JsonSchema;
}

/** A response, or a reference to a shared one. */
export interface Response {
  $ref?: string;
  description?: string;
  headers?: Record<string, Header>;
  content?: Record<string, MediaType>;
}

/** An operation: one verb of one path. */
export interface Operation {
  operationId: string;
  tags: string[];
  summary?: string;
  description?: string;
  deprecated?: boolean;
  security: Record<string, string[]>[];
  parameters?: Parameter[];
  requestBody?: { required: boolean; content: Record<string, MediaType> };
  responses: Record<string, Response>;
}

/** OpenAPI's verbs, in the order of the document. */
export const verbs = ["get", "put", "post", "delete", "options", "head", "patch", "trace"] as const;
export type Verb = (typeof verbs)[number];

/** Operations of a path. */
export type PathItem = Partial<Record<Verb, Operation>>;

/** An OpenAPI document. */
export interface OpenApiDocument {
  openapi: "3.1.0";
  info: JsonObject;
  servers: { url: string }[];
  tags: { name: string }[];
  paths: Record<string, PathItem>;
  components: {
    securitySchemes: JsonObject;
    schemas: Record<string, JsonSchema>;
    responses: Record<string, Response>;
  };
}
