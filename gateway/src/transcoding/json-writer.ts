import {
  type DescEnum,
  type DescField,
  type DescMessage,
  type JsonValue,
  type Message,
  ScalarType,
  toJson,
} from "@bufbuild/protobuf";
import { base64Encode } from "@bufbuild/protobuf/wire";
import { FeatureSet_FieldPresence, FieldOptions_JSType, isWrapperDesc } from "@bufbuild/protobuf/wkt";

/** Converts messages of one type to plain values for JSON.stringify, with proto field names. */
export type JsonWriter = (message: Message) => JsonValue;

type Fields = Record<string, unknown>;
type ValueWriter = (value: unknown) => JsonValue;

function scalarWriter(scalar: ScalarType): ValueWriter {
  switch (scalar) {
    case ScalarType.BYTES:
      return (value) => base64Encode(value as Uint8Array);
    case ScalarType.INT64:
    case ScalarType.UINT64:
    case ScalarType.SINT64:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return String;
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return (value) => (Number.isFinite(value) ? (value as number) : String(value));
    default:
      return (value) => value as JsonValue;
  }
}

function enumWriter(desc: DescEnum): ValueWriter {
  if (desc.typeName === "google.protobuf.NullValue") return () => null;
  return (value) => desc.value[value as number]?.name ?? (value as number);
}

/** RFC 3339 with milliseconds, or with nanoseconds if there are any. */
function timestampText(value: unknown): string {
  const { seconds, nanos } = value as { seconds: bigint; nanos: number };
  const text = new Date(Number(seconds) * 1000 + Math.floor(nanos / 1e6)).toISOString();
  return nanos % 1e6 === 0 ? text : `${text.slice(0, -4)}${String(nanos).padStart(9, "0")}Z`;
}

function isEmptyValue(value: unknown): boolean {
  return (
    value === "" || Object.is(value, 0) || value === false || value === 0n || (value instanceof Uint8Array && value.length === 0)
  );
}

/**
 * Compiles writers from descriptors, once per type. `whole` writes every field, with unset messages and optional fields
 * as null, for REST responses. `sparse` writes only set fields, for events; nested messages are written whole.
 */
export class JsonWriters {
  readonly #whole = new Map<DescMessage, JsonWriter>();

  /** The writer of a type that writes all fields. */
  whole(desc: DescMessage): JsonWriter {
    let writer = this.#whole.get(desc);
    if (writer === undefined) {
      // Resolved late: a message type may contain itself.
      let compiled: JsonWriter | undefined;
      writer = (message) => {
        compiled ??= this.#compile(desc, true);
        return compiled(message);
      };
      this.#whole.set(desc, writer);
    }
    return writer;
  }

  /** The writer of a type that omits unset fields. */
  sparse(desc: DescMessage): JsonWriter {
    return this.#compile(desc, false);
  }

  #compile(desc: DescMessage, whole: boolean): JsonWriter {
    if (desc.typeName === "google.protobuf.Timestamp") return timestampText;
    if (desc.typeName.startsWith("google.protobuf.")) return (message) => toJson(desc, message);
    const steps = desc.fields.map((field) => this.#field(field, whole));
    return (message) => {
      const target: Record<string, JsonValue> = {};
      for (const step of steps) step(message as unknown as Fields, target);
      return target;
    };
  }

  #field(field: DescField, whole: boolean): (source: Fields, target: Record<string, JsonValue>) => void {
    const { name, localName } = field;
    const write = this.#value(field);
    if (field.oneof !== undefined) {
      const oneof = field.oneof.localName;
      return (source, target) => {
        const chosen = source[oneof] as { case?: string; value?: unknown };
        if (chosen.case === localName) target[name] = write(chosen.value);
      };
    }
    if (field.fieldKind === "list" || field.fieldKind === "map") {
      const isEmpty = (value: unknown) => (Array.isArray(value) ? value.length === 0 : Object.keys(value as object).length === 0);
      return (source, target) => {
        const value = source[localName];
        if (whole || !isEmpty(value)) target[name] = write(value);
      };
    }
    const hasPresence = field.fieldKind === "message" || field.presence !== FeatureSet_FieldPresence.IMPLICIT;
    return (source, target) => {
      const value = source[localName];
      if (value === undefined) {
        if (whole) target[name] = null;
      } else if (whole || hasPresence || !isEmptyValue(value)) target[name] = write(value);
    };
  }

  #value(field: DescField): ValueWriter {
    switch (field.fieldKind) {
      case "scalar":
        // A 64-bit field that its proto declares as a JavaScript number is also a number in REST responses.
        if (field.proto.options?.jstype === FieldOptions_JSType.JS_NUMBER) return Number;
        return scalarWriter(field.scalar);
      case "enum":
        return enumWriter(field.enum);
      case "message":
        // protobuf-es represents a wrapper as the bare value, unless it is in a oneof.
        if (isWrapperDesc(field.message) && field.oneof === undefined) return scalarWriter(field.message.fields[0].scalar);
        return this.#message(field.message);
      case "list": {
        const item = this.#item(field.listKind, field);
        return (value) => (value as unknown[]).map(item);
      }
      case "map": {
        const item = this.#item(field.mapKind, field);
        return (value) => Object.fromEntries(Object.entries(value as object).map(([key, entry]) => [key, item(entry)]));
      }
    }
  }

  #item(kind: "scalar" | "enum" | "message", field: Pick<DescField, "scalar" | "enum" | "message">): ValueWriter {
    if (kind === "message") return this.#message(field.message as DescMessage);
    return kind === "enum" ? enumWriter(field.enum as DescEnum) : scalarWriter(field.scalar as ScalarType);
  }

  #message(desc: DescMessage): ValueWriter {
    // protobuf-es represents a Struct field as the plain object.
    if (desc.typeName === "google.protobuf.Struct") return (value) => value as JsonValue;
    return this.whole(desc) as ValueWriter;
  }
}
