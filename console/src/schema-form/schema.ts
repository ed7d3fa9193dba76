import { type Exact, exactLiteral, exactNumber, exactString, readExact } from "../json/exact.ts";

/** A JSON schema, as far as the form reads it. */
export interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly title?: string;
  readonly description?: string;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, Schema | boolean>>;
  readonly required?: readonly string[];
  readonly items?: Schema | boolean;
  readonly additionalProperties?: Schema | boolean;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly $defs?: Readonly<Record<string, Schema>>;
  readonly definitions?: Readonly<Record<string, Schema>>;
  readonly maxLength?: number;
}

/** The control of a field. */
export type Control = "string" | "number" | "boolean" | "null" | "enum" | "array" | "object" | "map" | "choice" | "raw";

/** References and levels that are followed; deeper ones get a box for JSON. */
const maxDepth = 8;

/** A schema without its reference. Undefined where the reference leads nowhere or too far. */
export function resolved(schema: Schema | boolean | undefined, root: Schema, depth: number): Schema | undefined {
  let at: Schema | boolean | undefined = schema;
  for (let step = depth; typeof at === "object" && at.$ref !== undefined; step += 1) {
    if (step > maxDepth || !at.$ref.startsWith("#")) return undefined;
    const path = at.$ref
      .slice(1)
      .split("/")
      .filter(Boolean)
      .map((part) => decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~"));
    let found: unknown = root;
    for (const part of path)
      found = typeof found === "object" && found !== null ? (found as Record<string, unknown>)[part] : undefined;
    at = found as Schema | boolean | undefined;
  }
  return typeof at === "object" && at !== null ? at : undefined;
}

/** The types that a schema names. */
export function typesOf({ type, properties }: Schema): readonly string[] {
  if (type === undefined) return properties === undefined ? [] : ["object"];
  return typeof type === "string" ? [type] : type;
}

/** The alternatives of a schema: `anyOf`, `oneOf`, or several types. */
export function alternativesOf(schema: Schema): readonly Schema[] {
  const parts = schema.anyOf ?? schema.oneOf;
  if (parts !== undefined) return parts;
  const types = typesOf(schema);
  return types.length > 1 ? types.map((type) => ({ ...schema, type })) : [];
}

/** The control that fits a schema. */
export function controlOf(schema: Schema | undefined, depth: number): Control {
  if (schema === undefined || depth > maxDepth) return "raw";
  if (schema.enum !== undefined || schema.const !== undefined) return "enum";
  if (alternativesOf(schema).length > 0) return "choice";
  const [type] = typesOf(schema);
  switch (type) {
    case "string":
    case "boolean":
    case "null":
    case "number":
      return type;
    case "integer":
      return "number";
    case "array":
      return typeof schema.items === "object" ? "array" : "raw";
    case "object":
      if (schema.properties !== undefined) return "object";
      return typeof schema.additionalProperties === "object" ? "map" : "raw";
    default:
      return "raw";
  }
}

/** A value that the schema itself gives, or the emptiest that fits it. */
export function emptyValue(schema: Schema | undefined, root: Schema, depth = 0): Exact {
  if (schema === undefined) return exactLiteral("null");
  const given = schema.const ?? schema.default ?? schema.enum?.[0];
  if (given !== undefined) return readExact(JSON.stringify(given));
  switch (controlOf(schema, depth)) {
    case "string":
      return exactString("");
    case "number":
      return exactNumber("0");
    case "boolean":
      return exactLiteral("false");
    case "array":
      return { kind: "array", items: [] };
    case "map":
      return { kind: "object", fields: [] };
    case "object": {
      const required = schema.required ?? [];
      const fields = Object.entries(schema.properties ?? {}).filter(([name]) => required.includes(name));
      return {
        kind: "object",
        fields: fields.map(([name, one]) => ({ name, value: emptyValue(resolved(one, root, depth + 1), root, depth + 1) })),
      };
    }
    case "choice":
      return emptyValue(resolved(alternativesOf(schema)[0], root, depth + 1), root, depth + 1);
    case "raw":
      return typesOf(schema)[0] === "array"
        ? { kind: "array", items: [] }
        : typesOf(schema)[0] === "object"
          ? { kind: "object", fields: [] }
          : exactLiteral("null");
    default:
      return exactLiteral("null");
  }
}

/** Whether a value is of the kind that a schema wants, to find the alternative that it belongs to. */
export function fits(value: Exact, schema: Schema | undefined): boolean {
  if (schema === undefined) return true;
  if (schema.const !== undefined) return JSON.stringify(schema.const) === rawOf(value);
  if (schema.enum !== undefined) return schema.enum.some((one) => JSON.stringify(one) === rawOf(value));
  const types = typesOf(schema);
  if (types.length === 0) return true;
  switch (value.kind) {
    case "literal":
      return types.includes(value.raw === "null" ? "null" : "boolean");
    case "number":
      return types.includes("number") || (types.includes("integer") && /^-?\d+$/.test(value.raw));
    default:
      return types.includes(value.kind);
  }
}

/** The text of a simple value in the form that JSON.stringify gives it. */
export function rawOf(value: Exact): string {
  if (value.kind === "string") return JSON.stringify(value.value);
  return "raw" in value ? value.raw : "";
}
