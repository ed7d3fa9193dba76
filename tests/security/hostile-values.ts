import { create, type DescField, type DescMessage, ScalarType, toBinary } from "@bufbuild/protobuf";
import { TimestampSchema } from "@bufbuild/protobuf/wkt";

/** A value, in proto3's JSON, that a field must refuse or tolerate. */
export interface HostileValue {
  readonly name: string;
  readonly value: unknown;
}

const text: HostileValue[] = [
  { name: "NUL", value: "a\0b" },
  { name: "half a surrogate pair", value: "a\ud800b" },
  { name: "the name of a prototype", value: "__proto__" },
  { name: "much text", value: "x".repeat(100_000) },
];
const whole: HostileValue[] = [
  { name: "too many", value: 2 ** 31 },
  { name: "far below zero", value: "-9223372036854775808" },
  { name: "a fraction", value: 1.5 },
  { name: "no number", value: "many" },
];
const decimal: HostileValue[] = [
  { name: "no number by name", value: "NaN" },
  { name: "no end by name", value: "-Infinity" },
  { name: "a large number", value: 1.7e308 },
];
const anything: HostileValue[] = [
  { name: "a list in a list", value: [[]] },
  { name: "an object of odd keys", value: { "": null, "a\0b": [{ __proto__: 1 }] } },
];

/** Values for a field, by its kind. */
function valuesOf(field: DescField): HostileValue[] {
  switch (field.fieldKind) {
    case "scalar":
      if (field.scalar === ScalarType.STRING) return [...text, ...anything];
      if (field.scalar === ScalarType.DOUBLE || field.scalar === ScalarType.FLOAT) return [...decimal, ...anything];
      if (field.scalar === ScalarType.BOOL) return [{ name: "perhaps", value: "perhaps" }, ...anything];
      if (field.scalar === ScalarType.BYTES) return [{ name: "no base64", value: "\0!" }, ...anything];
      return [...whole, ...anything];
    case "enum":
      return [{ name: "an unknown name", value: "a\0b" }, { name: "an unknown number", value: 999_999 }, ...anything];
    case "list":
      return [
        { name: field.listKind === "scalar" ? "NUL in a list" : "text in a list", value: ["a\0b"] },
        { name: "nothing in a list", value: [null] },
        ...anything,
      ];
    case "map":
      return [{ name: "NUL in a key", value: { "a\0b": "c" } }, ...anything];
    case "message":
      if (field.message.typeName !== TimestampSchema.typeName) return [{ name: "text", value: "a\0b" }, ...anything];
      return [
        { name: "the year 0", value: "0000-01-01T00:00:00Z" },
        { name: "the year 10000", value: "10000-01-01T00:00:00Z" },
        { name: "the last moment", value: "9999-12-31T23:59:59.999999999Z" },
        { name: "no time", value: "tomorrow\0" },
        ...anything,
      ];
  }
}

/** A field of a request: its path of names from the top. */
export interface HostileField {
  readonly path: readonly string[];
  readonly values: readonly HostileValue[];
}

/** Every field of a request, including nested ones, with values for each. */
export function hostileFields(desc: DescMessage, above: readonly string[] = [], depth = 3): HostileField[] {
  return desc.fields.flatMap((field) => {
    const path = [...above, field.name];
    const own = { path, values: valuesOf(field) };
    const isOurs = field.fieldKind === "message" && field.message.typeName.startsWith("turnwright.");
    return isOurs && depth > 1 ? [own, ...hostileFields(field.message, path, depth - 1)] : [own];
  });
}

/** A copy of an object with a value at a path. */
export function withValue(object: unknown, [name, ...rest]: readonly string[], value: unknown): unknown {
  if (name === undefined) return value;
  const fields = typeof object === "object" && object !== null ? (object as Record<string, unknown>) : {};
  return { ...fields, [name]: withValue(fields[name], rest, value) };
}

/** Messages in binary protobuf whose times and numbers JSON cannot express. */
export function hostileMessages(desc: DescMessage): { name: string; bytes: Uint8Array }[] {
  return desc.fields.flatMap((field) => {
    const make = (name: string, value: unknown) => ({
      name: `${field.name}: ${name}`,
      bytes: toBinary(desc, create(desc, { [field.localName]: value } as never)),
    });
    if (field.fieldKind === "message" && field.message.typeName === TimestampSchema.typeName) {
      const time = (seconds: bigint, nanos: number) => create(TimestampSchema, { seconds, nanos });
      return [
        make("the end of time", time(2n ** 62n, 0)),
        make("the beginning of time", time(-(2n ** 62n), 0)),
        make("nanoseconds that are none", time(4_000_000_000n, -5)),
        make("a second beyond the year 9999", time(253_402_300_800n, 0)),
      ];
    }
    if (field.fieldKind === "scalar" && field.scalar === ScalarType.DOUBLE)
      return [make("no number", Number.NaN), make("no end", Number.POSITIVE_INFINITY)];
    return [];
  });
}
