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
import type { FieldFault } from "@turnwright/platform/rpc/field-faults";
import { invalidRequest } from "@turnwright/platform/rpc/request-faults";
import { decoding, jsonFaults, readLeniently, unknownName } from "./json-faults.ts";
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

/** Creates the request message of a binding. Throws INVALID_REQUEST with all faulty fields. */
export type Binder = (request: BindableRequest) => Message;

const integers: ReadonlySet<ScalarType> = new Set([
  ScalarType.INT32,
  ScalarType.UINT32,
  ScalarType.SINT32,
  ScalarType.FIXED32,
  ScalarType.SFIXED32,
]);

/** A path or query value that is not one of its field. */
class TextFault {
  readonly message: string;

  constructor(message: string) {
    this.message = message;
  }
}

/** Converts a path or query value to the JSON of its field. */
function textAsJson(scalar: ScalarType | undefined, text: string): JsonValue | TextFault {
  const expected = (what: string) => new TextFault(`expected ${what}, got ${JSON.stringify(text)}`);
  if (scalar === ScalarType.BOOL) {
    if (text === "true" || text === "1") return true;
    if (text === "false" || text === "0") return false;
    return expected("true or false");
  }
  if (scalar !== undefined && integers.has(scalar)) return /^[+-]?\d+$/.test(text) ? Number(text) : expected("a whole number");
  if (scalar === ScalarType.DOUBLE || scalar === ScalarType.FLOAT) {
    const value = Number(text);
    return text.trim() === "" || Number.isNaN(value) ? expected("a number") : value;
  }
  return text;
}

function queryValue(field: DescField, value: string | string[]): JsonValue | TextFault {
  const values = Array.isArray(value) ? value : [value];
  if (field.fieldKind !== "list") return textAsJson(field.scalar, values.at(-1) ?? "");
  const items: JsonValue[] = [];
  for (const text of values) {
    const item = textAsJson(field.scalar, text);
    if (item instanceof TextFault) return item;
    items.push(item);
  }
  return items;
}

/** The field of a body that chooses the stream of a path with two forms; both forms take it. */
const streamSwitch = "stream";

/** Takes a field that only the other form of the path knows; see `createBinder`. */
function takeOther(json: JsonObject, name: string, faults: FieldFault[]): void {
  const value = json[name];
  delete json[name];
  if (value === undefined || value === null || (name === streamSwitch && typeof value === "boolean")) return;
  const message =
    name === streamSwitch
      ? `expected true or false, got ${JSON.stringify(value)}`
      : `depends on ${streamSwitch}; see the API's documentation`;
  faults.push({ path: name, message });
}

/**
 * Compiles a binding: body, then query, then path; path values cannot be overridden. A name that the contract does not
 * know is refused, in the body and in the query. `other` is the message of the path's other form, at once or streamed:
 * its fields may be null here, and its switch may be false.
 */
export function createBinder(binding: Binding, other?: DescMessage): Binder {
  const input: DescMessage = binding.method.input;
  const byName = new Map(input.fields.map((field) => [field.name, field]));
  const inPath = new Set(binding.path.fields);
  for (const name of [...inPath, ...(binding.body === "" || binding.body === "*" ? [] : [binding.body])]) {
    if (!byName.has(name)) throw new Error(`${input.typeName} has no field ${name}, which its HTTP annotation names.`);
  }
  // With body "*", every field outside the path is in the body.
  const queryFields = binding.body === "*" ? [] : input.fields.filter((f) => !inPath.has(f.name) && f.name !== binding.body);
  const inQuery = new Map(queryFields.flatMap((field) => [field.name, field.jsonName].map((name) => [name, field])));
  const putTexts = binding.body === "*" ? compileJsonTexts(input) : undefined;
  const ofOther = (other?.fields ?? []).map(({ name }) => name).filter((name) => !byName.has(name));

  /** All faults: those found so far, and those of the message, named as the client names them. */
  const refuse = (json: JsonObject, found: readonly FieldFault[], cause?: unknown): Error => {
    const known = new Set(found.map(({ path }) => path));
    const inBody = binding.body === "" || binding.body === "*" ? "" : `${binding.body}.`;
    const faults = jsonFaults(input, json).filter(({ path }) => !known.has(path));
    const renamed = faults.map((fault) =>
      inBody !== "" && fault.path.startsWith(inBody) ? { ...fault, path: fault.path.slice(inBody.length) } : fault,
    );
    const all = [...found, ...renamed];
    return invalidRequest(all.length > 0 ? all : [{ path: "", message: "does not fit" }], cause);
  };

  return ({ params, query, body, text }) => {
    let json: JsonObject;
    const faults: FieldFault[] = [];
    if (binding.body === "*") {
      if (body !== undefined && (typeof body !== "object" || body === null || Array.isArray(body))) {
        throw fail(ErrorReason.INVALID_REQUEST, "body: expected a JSON object");
      }
      json = body === undefined ? {} : { ...(body as JsonObject) };
      if (body !== undefined && text !== undefined) putTexts?.(json, text());
      for (const name of ofOther) if (name in json) takeOther(json, name, faults);
    } else if (binding.body !== "") {
      json = body === undefined ? {} : { [binding.body]: body };
    } else {
      json = {};
      if (typeof body === "object") for (const name in body) faults.push({ path: name, message: "this request takes no body" });
    }
    for (const name in query) {
      const field = inQuery.get(name);
      const value = query[name];
      if (field === undefined) {
        const isPlace = inPath.has(name) || byName.has(name);
        const known = queryFields.map((one) => one.name);
        faults.push({ path: name, message: isPlace ? "does not belong in the query" : unknownName("parameter", name, known) });
      } else if (value !== undefined) {
        const found = queryValue(field, value);
        if (found instanceof TextFault) faults.push({ path: field.name, message: found.message });
        else json[field.name] = found;
      }
    }
    for (const name of binding.path.fields) {
      const field = byName.get(name);
      if (field === undefined) continue;
      const found = textAsJson(field.scalar, params[name] ?? "");
      const given = json[name] ?? json[field.jsonName];
      if (field.jsonName !== field.name) delete json[field.jsonName];
      if (found instanceof TextFault) {
        delete json[name];
        faults.push({ path: name, message: found.message });
        continue;
      }
      if (given !== undefined && given !== null && given !== found)
        faults.push({ path: name, message: "differs from the path's" });
      json[name] = found;
    }
    if (faults.length > 0) throw refuse(json, faults);
    try {
      return fromJson(input, json, decoding);
    } catch (error) {
      const message = readLeniently(input, json);
      if (message !== undefined) return message;
      throw refuse(json, faults, error);
    }
  };
}
