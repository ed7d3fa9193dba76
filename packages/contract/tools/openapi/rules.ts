import { type DescField, getOption, hasOption, type JsonValue } from "@bufbuild/protobuf";
import { scalarZeroValue } from "@bufbuild/protobuf/reflect";
import { FeatureSet_FieldPresence } from "@bufbuild/protobuf/wkt";
import {
  type BytesRules,
  type EnumRules,
  type FieldRules,
  field as fieldOption,
  Ignore,
  type MapRules,
  type RepeatedRules,
  type StringRules,
} from "../../gen/buf/validate/validate_pb.ts";
import type { JsonSchema } from "./openapi-types.ts";

const formats: Readonly<Partial<Record<NonNullable<StringRules["wellKnown"]["case"]>, string>>> = {
  email: "email",
  hostname: "hostname",
  ipv4: "ipv4",
  ipv6: "ipv6",
  uri: "uri",
  uriRef: "uri-reference",
  uuid: "uuid",
};

/** The buf.validate rules of a field. Undefined if there are none or they are always ignored. */
export function rulesOf(field: DescField): FieldRules | undefined {
  if (!hasOption(field, fieldOption)) return undefined;
  const rules = getOption(field, fieldOption);
  return rules.ignore === Ignore.ALWAYS ? undefined : rules;
}

/** Whether an unset field differs from one with the zero value. */
export function tracksPresence(field: DescField): boolean {
  if (field.fieldKind === "list" || field.fieldKind === "map") return false;
  return field.presence !== FeatureSet_FieldPresence.IMPLICIT;
}

/** The rules that are set. Unset ones read as defaults, which would look like constraints. */
function given<T extends object>(rules: T): Partial<T> {
  return { ...rules };
}

const count = (value: bigint | undefined): number | undefined => (value === undefined ? undefined : Number(value));

function nonEmpty<T>(list: readonly T[]): T[] | undefined {
  return list.length === 0 ? undefined : [...list];
}

function stringConstraints(all: StringRules): JsonSchema {
  const rules = given(all);
  const { case: known, value } = all.wellKnown;
  return {
    format: known === undefined || value === false ? undefined : formats[known],
    const: rules.const,
    enum: nonEmpty(all.in),
    minLength: count(rules.minLen ?? rules.len),
    maxLength: count(rules.maxLen ?? rules.len),
    pattern: rules.pattern,
    examples: nonEmpty(all.example),
  };
}

/** Rules that all number types share. 64-bit types use bigint. */
interface NumberRules {
  const?: number | bigint;
  lessThan: { case?: string; value?: number | bigint };
  greaterThan: { case?: string; value?: number | bigint };
  in: readonly (number | bigint)[];
  example: readonly (number | bigint)[];
}

function numberConstraints(rules: NumberRules): JsonSchema {
  const { const: fixed } = given(rules);
  const bound = (side: NumberRules["lessThan"], name: string): number | undefined =>
    side.case === name && side.value !== undefined ? Number(side.value) : undefined;
  return {
    const: fixed === undefined ? undefined : Number(fixed),
    enum: nonEmpty(rules.in.map(Number)),
    minimum: bound(rules.greaterThan, "gte"),
    exclusiveMinimum: bound(rules.greaterThan, "gt"),
    maximum: bound(rules.lessThan, "lte"),
    exclusiveMaximum: bound(rules.lessThan, "lt"),
    examples: nonEmpty(rules.example.map(Number)),
  };
}

function enumConstraints(rules: EnumRules, field: DescField): JsonSchema {
  const { const: fixed } = given(rules);
  const values = field.enum?.values ?? [];
  const allowed = values.filter(
    ({ number }) =>
      (rules.in.length === 0 || rules.in.includes(number)) &&
      !rules.notIn.includes(number) &&
      (fixed === undefined || fixed === number),
  );
  return { enum: allowed.map((value) => value.name) };
}

function repeatedConstraints(all: RepeatedRules): JsonSchema {
  const rules = given(all);
  return {
    minItems: count(rules.minItems),
    maxItems: count(rules.maxItems),
    uniqueItems: rules.unique === true ? true : undefined,
  };
}

function mapConstraints(all: MapRules): JsonSchema {
  const rules = given(all);
  return { minProperties: count(rules.minPairs), maxProperties: count(rules.maxPairs) };
}

/** Rules count bytes, JSON has base64: four characters for every three bytes or part of them. */
function bytesConstraints(all: BytesRules): JsonSchema {
  const base64 = (bytes: bigint | undefined) => (bytes === undefined ? undefined : Math.ceil(Number(bytes) / 3) * 4);
  const { minLen, maxLen } = given(all);
  return { minLength: base64(minLen), maxLength: base64(maxLen) };
}

function typeConstraints(rules: FieldRules, field: DescField): JsonSchema {
  const { type } = rules;
  switch (type.case) {
    case undefined:
    case "any":
    case "duration":
    case "fieldMask":
    case "timestamp":
      return {};
    case "string":
      return stringConstraints(type.value);
    case "bytes":
      return bytesConstraints(type.value);
    case "bool":
      return { const: given(type.value).const };
    case "enum":
      return enumConstraints(type.value, field);
    case "repeated":
      return repeatedConstraints(type.value);
    case "map":
      return mapConstraints(type.value);
    default:
      return numberConstraints(type.value);
  }
}

function withoutUndefined(schema: JsonSchema): JsonSchema {
  return Object.fromEntries(Object.entries(schema).filter(([, value]) => value !== undefined));
}

/** JSON Schema constraints from the rules of a single value or of a list as a whole. */
export function constraintsOf(rules: FieldRules, field: DescField): JsonSchema {
  const constraints = withoutUndefined(typeConstraints(rules, field));
  if (rules.required === true && !tracksPresence(field)) {
    if (field.fieldKind === "list") constraints.minItems ??= 1;
    else if (field.fieldKind === "map") constraints.minProperties ??= 1;
    else if (constraints.enum === undefined && field.fieldKind === "scalar") constraints.minLength ??= 1;
  }
  return constraints;
}

/** Value of an absent field with implicit presence. */
export function zeroOf(field: DescField): JsonValue {
  switch (field.fieldKind) {
    case "list":
      return [];
    case "map":
      return {};
    case "enum":
      return field.enum.values[0]?.name ?? "";
    case "message":
      return null;
    case "scalar": {
      const zero = scalarZeroValue(field.scalar, false);
      return zero instanceof Uint8Array ? "" : typeof zero === "bigint" ? Number(zero) : zero;
    }
    default:
      return field satisfies never;
  }
}

function allowsZero(schema: JsonSchema, zero: JsonValue): boolean {
  if (schema.const !== undefined && schema.const !== zero) return false;
  if (schema.enum !== undefined && !schema.enum.includes(zero)) return false;
  if (typeof zero === "string") return (schema.minLength ?? 0) === 0 && schema.format === undefined && takesEmpty(schema.pattern);
  if (typeof zero === "number") {
    const { minimum = 0, maximum = 0, exclusiveMinimum = -1, exclusiveMaximum = 1 } = schema;
    return minimum <= 0 && maximum >= 0 && exclusiveMinimum < 0 && exclusiveMaximum > 0;
  }
  return (schema.minItems ?? 0) === 0 && (schema.minProperties ?? 0) === 0;
}

/** Whether the rules do not apply to the zero value. */
export function ignoresZero(rules: FieldRules): boolean {
  return rules.ignore === Ignore.IF_ZERO_VALUE;
}

/** Whether a request without this field is invalid: the field is `required`, or its zero value is not allowed. */
export function isRequired(field: DescField): boolean {
  const rules = rulesOf(field);
  if (rules === undefined || (ignoresZero(rules) && rules.required !== true)) return false;
  if (rules.required === true) return true;
  return !tracksPresence(field) && !allowsZero(constraintsOf(rules, field), zeroOf(field));
}

/** Whether a pattern matches the empty text. */
function takesEmpty(pattern: string | undefined): boolean {
  return pattern === undefined || new RegExp(pattern, "u").test("");
}
