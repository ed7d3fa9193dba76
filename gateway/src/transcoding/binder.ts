import {
  type DescField,
  type DescMessage,
  fromJson,
  type JsonObject,
  type JsonValue,
  type Message,
  ScalarType,
} from "@bufbuild/protobuf";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { compileEnumCheck } from "./enum-names.ts";
import { compileJsonTexts } from "./json-texts.ts";
import type { Binding } from "./routes.ts";

/** The parts of an HTTP request that form a message. */
export interface BindableRequest {
  readonly params: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string | string[] | undefined>>;
  /** The parsed body; undefined when there is none. */
  readonly body: JsonValue | undefined;
  /** The body's text, for fields that take it exactly as written. */
  readonly text?: () => string;
}

/** Creates the request message of a binding. Throws INVALID_REQUEST with the field. */
export type Binder = (request: BindableRequest) => Message;

const decoding = { ignoreUnknownFields: true };

const integers: ReadonlySet<ScalarType> = new Set([
  ScalarType.INT32,
  ScalarType.UINT32,
  ScalarType.SINT32,
  ScalarType.FIXED32,
  ScalarType.SFIXED32,
]);

function invalid(param: string, message: string) {
  return fail(ErrorReason.INVALID_REQUEST, `${param}: ${message}`, { param });
}

/** Converts a path or query value to the JSON of its field. */
function textAsJson(field: DescField, scalar: ScalarType | undefined, text: string): JsonValue {
  if (scalar === ScalarType.BOOL) {
    if (text === "true" || text === "1") return true;
    if (text === "false" || text === "0") return false;
    throw invalid(field.name, `expected true or false, got ${JSON.stringify(text)}`);
  }
  if (scalar !== undefined && integers.has(scalar)) {
    if (!/^[+-]?\d+$/.test(text)) throw invalid(field.name, `expected a whole number, got ${JSON.stringify(text)}`);
    return Number(text);
  }
  if (scalar === ScalarType.DOUBLE || scalar === ScalarType.FLOAT) {
    const value = Number(text);
    if (text.trim() === "" || Number.isNaN(value)) throw invalid(field.name, `expected a number, got ${JSON.stringify(text)}`);
    return value;
  }
  return text;
}

function queryValue(field: DescField, value: string | string[]): JsonValue {
  const values = Array.isArray(value) ? value : [value];
  switch (field.fieldKind) {
    case "list": {
      const { scalar } = field;
      return values.map((text) => textAsJson(field, scalar, text));
    }
    case "scalar":
      return textAsJson(field, field.scalar, values.at(-1) ?? "");
    default:
      return values.at(-1) ?? "";
  }
}

/** The field that protobuf-es rejects, when its error names only the field's type. */
function culprit(input: DescMessage, json: JsonObject): string {
  for (const field of input.fields) {
    for (const key of [field.name, field.jsonName]) {
      const value = json[key];
      if (value === undefined) continue;
      try {
        fromJson(input, { [key]: value }, decoding);
      } catch {
        return field.name;
      }
    }
  }
  return "";
}

/** Rewrites protobuf-es's `cannot decode field pkg.Message.field from JSON: why` to `field: why` for clients. */
function decodeError(error: unknown, input: DescMessage, json: JsonObject): Error {
  const message = error instanceof Error ? error.message : String(error);
  const match = /^cannot decode (field|message|enum) (\S+?)(?: from JSON)?: (.*)$/s.exec(message);
  const param = match?.[1] === "field" ? (match[2]?.split(".").at(-1) ?? "") : culprit(input, json);
  const why = match?.[3] ?? "does not fit";
  return fail(ErrorReason.INVALID_REQUEST, `${param || "body"}: ${why}`, { param, cause: error });
}

/** Compiles a binding: body, then query, then path; path values cannot be overridden. */
export function createBinder(binding: Binding): Binder {
  const input: DescMessage = binding.method.input;
  const byName = new Map(input.fields.map((field) => [field.name, field]));
  const inPath = new Set(binding.path.fields);
  for (const name of [...inPath, ...(binding.body === "" || binding.body === "*" ? [] : [binding.body])]) {
    if (!byName.has(name)) throw new Error(`${input.typeName} has no field ${name}, which its HTTP annotation names.`);
  }
  // With body "*", every field outside the path is in the body.
  const queryFields = binding.body === "*" ? [] : input.fields.filter((f) => !inPath.has(f.name) && f.name !== binding.body);
  const checkEnums = compileEnumCheck(input);
  const putTexts = binding.body === "*" ? compileJsonTexts(input) : undefined;

  return ({ params, query, body, text }) => {
    let json: JsonObject;
    if (binding.body === "*") {
      if (body !== undefined && (typeof body !== "object" || body === null || Array.isArray(body))) {
        throw fail(ErrorReason.INVALID_REQUEST, "body: expected a JSON object");
      }
      json = body === undefined ? {} : { ...(body as JsonObject) };
      if (body !== undefined && text !== undefined) putTexts?.(json, text());
    } else if (binding.body !== "") json = body === undefined ? {} : { [binding.body]: body };
    else json = {};
    for (const field of queryFields) {
      const value = query[field.name] ?? query[field.jsonName];
      if (value !== undefined) json[field.name] = queryValue(field, value);
    }
    for (const name of binding.path.fields) {
      const field = byName.get(name);
      if (field === undefined) continue;
      if (field.jsonName !== field.name) delete json[field.jsonName];
      json[name] = textAsJson(field, field.scalar, params[name] ?? "");
    }
    checkEnums?.(json);
    try {
      return fromJson(input, json, decoding);
    } catch (error) {
      throw decodeError(error, input, json);
    }
  };
}
