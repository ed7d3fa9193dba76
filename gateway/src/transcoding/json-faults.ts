import {
  type DescField,
  type DescMessage,
  fromJson,
  getOption,
  type JsonObject,
  type JsonValue,
  type Message,
  ScalarType,
} from "@bufbuild/protobuf";
import { ignores_unknown as ignoresUnknown } from "@turnwright/contract/errors/v1/surface";
import { type FieldFault, maxFaults } from "@turnwright/platform/rpc/field-faults";
import { requestFaults } from "@turnwright/platform/rpc/request-faults";

/** How a request's JSON is decoded: a name that the contract does not know is a fault. */
export const decoding = { ignoreUnknownFields: false } as const;

/** The faults of one message, collected while it is taken apart. */
class Reading {
  readonly faults: FieldFault[] = [];

  /** Adds a fault; `why` is asked only while there is room for it. */
  report(path: string, why: () => string): undefined {
    if (this.faults.length < maxFaults) this.faults.push({ path, message: why() });
    return undefined;
  }
}

type Read = (json: JsonValue, path: string, reading: Reading) => JsonValue | undefined;

function kindOf(json: JsonValue): string {
  if (json === null) return "null";
  return Array.isArray(json) ? "a list" : typeof json === "object" ? "an object" : JSON.stringify(json);
}

const isObject = (json: JsonValue): json is JsonObject => typeof json === "object" && json !== null && !Array.isArray(json);

/** Number of letters to insert, delete or replace; at least `limit` beyond that. */
function distance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return limit;
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next[j] = Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1);
    }
    row = next;
  }
  return row[b.length] ?? limit;
}

/** The fault of a name that is not among the known ones; suggests the nearest. */
export function unknownName(kind: "field" | "parameter", name: string, known: Iterable<string>): string {
  let [best, nearest] = [3, ""];
  for (const candidate of known) {
    const letters = distance(name, candidate, best);
    if (letters < best) [best, nearest] = [letters, candidate];
  }
  return nearest === "" ? `unknown ${kind}` : `unknown ${kind}; did you mean ${nearest}?`;
}

const within = (path: string, name: string): string => (path === "" ? name : `${path}.${name}`);

/** Why protobuf's JSON refuses a value, without the names of types. */
function whyNot(desc: DescMessage, json: JsonObject): string | undefined {
  try {
    fromJson(desc, json, decoding);
    return undefined;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return /^cannot decode (?:field|message|enum) \S+?(?: from JSON)?: (.*)$/s.exec(message)?.[1] ?? "does not fit";
  }
}

function isPlainMessage(desc: DescMessage | undefined): desc is DescMessage {
  return desc !== undefined && !desc.typeName.startsWith("google.protobuf.");
}

/** Reads one value of a field: the whole, an element of a list, or a value of a map. */
function readOne(desc: DescMessage, field: DescField): Read {
  return (json, path, reading) => {
    if (isPlainMessage(field.message)) return readMessage(field.message, json, path, reading);
    if (field.enum !== undefined && typeof json === "string") {
      const names = field.enum.values.map(({ name }) => name);
      if (names.includes(json)) return json;
      return reading.report(path, () => `expected one of ${names.join(", ")}, got ${JSON.stringify(json)}`);
    }
    const wrapped: JsonValue =
      field.fieldKind === "list"
        ? [json]
        : field.fieldKind === "map"
          ? { [field.mapKey === ScalarType.STRING ? "key" : "1"]: json }
          : json;
    const why = whyNot(desc, { [field.name]: wrapped });
    return why === undefined ? json : reading.report(path, () => why);
  };
}

function readField(desc: DescMessage, field: DescField, json: JsonValue, path: string, reading: Reading): JsonValue | undefined {
  const one = readOne(desc, field);
  if (field.fieldKind === "list") {
    if (!Array.isArray(json)) return reading.report(path, () => `expected a list, got ${kindOf(json)}`);
    const items = json.map((item, index) => one(item, `${path}[${index}]`, reading));
    return items.filter((item) => item !== undefined);
  }
  if (field.fieldKind === "map") {
    if (!isObject(json)) return reading.report(path, () => `expected an object, got ${kindOf(json)}`);
    const entries = Object.entries(json).map(([key, item]) => [key, one(item, `${path}[${JSON.stringify(key)}]`, reading)]);
    return Object.fromEntries(entries.filter(([, item]) => item !== undefined));
  }
  return one(json, path, reading);
}

/** Reads a message: reports its faults and returns its sound members. */
function readMessage(desc: DescMessage, json: JsonValue, path: string, reading: Reading): JsonObject | undefined {
  if (!isObject(json)) return reading.report(path, () => `expected an object, got ${kindOf(json)}`);
  const sound: Record<string, JsonValue> = {};
  for (const [key, value] of Object.entries(json)) {
    const field = desc.fields.find(({ name, jsonName }) => name === key || jsonName === key);
    if (field === undefined) {
      if (getOption(desc, ignoresUnknown)) continue;
      reading.report(within(path, key), () =>
        unknownName(
          "field",
          key,
          desc.fields.map(({ name }) => name),
        ),
      );
      continue;
    }
    // Null is an absent field, except in a Value.
    if (value === null && field.message?.typeName !== "google.protobuf.Value") continue;
    const read = readField(desc, field, value, within(path, field.name), reading);
    if (read !== undefined) sound[field.name] = read;
  }
  return sound;
}

/**
 * Reads JSON that does not decode because its messages of OpenAI's form have members that the contract does not know:
 * those are left out. Undefined when it has faults.
 */
export function readLeniently(desc: DescMessage, json: JsonValue): Message | undefined {
  const reading = new Reading();
  const sound = readMessage(desc, json, "", reading);
  if (sound === undefined || reading.faults.length > 0) return undefined;
  try {
    return fromJson(desc, sound, decoding);
  } catch {
    return undefined;
  }
}

/**
 * All faults of a message's JSON that does not decode: unknown names, values of another type, and what its sound part
 * breaks of the contract's rules. Empty when the JSON decodes and breaks no rule.
 */
export function jsonFaults(desc: DescMessage, json: JsonValue): readonly FieldFault[] {
  const reading = new Reading();
  const sound = readMessage(desc, json, "", reading);
  if (sound === undefined) return reading.faults;
  try {
    const named = new Set(reading.faults.map(({ path }) => path));
    const hides = (path: string) => [...named].some((fault) => fault === path || fault.startsWith(`${path}[`));
    const rules = requestFaults(desc, fromJson(desc, sound, decoding), true);
    return [...reading.faults, ...rules.filter(({ path }) => !hides(path))];
  } catch {
    // Members that are sound one by one and not together, such as two of a oneof.
    return reading.faults.length > 0 ? reading.faults : [{ path: "", message: "body: its fields do not fit together" }];
  }
}
