import { type DescField, type DescMessage, type Message, ScalarType } from "@bufbuild/protobuf";
import { DurationSchema, type Struct, StructSchema, TimestampSchema, type Value, ValueSchema } from "@bufbuild/protobuf/wkt";

/** A value that no field of a request may hold, whatever its rules allow. */
export interface FieldFault {
  /** The field's path in proto names: `tags[2].label`. */
  readonly path: string;
  readonly message: string;
}

type Check = (value: unknown, path: string) => FieldFault | undefined;

/** The first and last millisecond of the years 1 to 9999 in UTC: the range of a Timestamp by its definition. */
const [firstMs, lastMs] = [-62_135_596_800_000, 253_402_300_799_999];
/** Seconds in 10,000 years: the longest Duration by its definition. */
const longestSeconds = 315_576_000_000n;

const checkText: Check = (value, path) =>
  (value as string).includes("\0") ? { path, message: "must not have NUL characters" } : undefined;

const checkNumber: Check = (value, path) => (Number.isFinite(value) ? undefined : { path, message: "must be a finite number" });

const checkTimestamp: Check = (value, path) => {
  const { seconds, nanos } = value as { seconds: bigint; nanos: number };
  // With the rounding of the conversion to a Date.
  const ms = Number(seconds) * 1_000 + Math.round(nanos / 1e6);
  const isTime = ms >= firstMs && ms <= lastMs && nanos >= 0 && nanos < 1e9;
  return isTime ? undefined : { path, message: "must be a time within the years 1 to 9999" };
};

const checkDuration: Check = (value, path) => {
  const { seconds, nanos } = value as { seconds: bigint; nanos: number };
  const isDuration = seconds >= -longestSeconds && seconds <= longestSeconds && nanos > -1e9 && nanos < 1e9;
  return isDuration ? undefined : { path, message: "must be a duration of at most 10,000 years" };
};

/** Checks JSON in fields of google.protobuf.Struct. */
const checkJson: Check = (value, path) => {
  if (typeof value === "string") return checkText(value, path);
  if (typeof value === "number") return checkNumber(value, path);
  if (typeof value !== "object" || value === null) return undefined;
  for (const [key, item] of Object.entries(value)) {
    const fault = checkText(key, path) ?? checkJson(item, Array.isArray(value) ? `${path}[${key}]` : `${path}.${key}`);
    if (fault !== undefined) return fault;
  }
  return undefined;
};

const checkValue: Check = (value, path) => {
  const { kind } = value as Value;
  if (kind.case === "structValue") return checkStruct(kind.value, path);
  if (kind.case !== "listValue") return checkJson(kind.value, path);
  for (const [index, item] of kind.value.values.entries()) {
    const fault = checkValue(item, `${path}[${index}]`);
    if (fault !== undefined) return fault;
  }
  return undefined;
};

/** Checks a Struct: plain JSON in a field of a message, a message with `fields` inside a Value or on its own. */
const checkStruct: Check = (value, path) => {
  if (!("$typeName" in (value as object))) return checkJson(value, path);
  for (const [key, item] of Object.entries((value as Struct).fields)) {
    const fault = checkText(key, path) ?? checkValue(item, path === "" ? key : `${path}.${key}`);
    if (fault !== undefined) return fault;
  }
  return undefined;
};

const checks = new Map<DescMessage, Check>([
  [TimestampSchema, checkTimestamp],
  [DurationSchema, checkDuration],
  [ValueSchema, checkValue],
  [StructSchema, checkStruct],
]);

function checkOfScalar(scalar: ScalarType): Check | undefined {
  if (scalar === ScalarType.STRING) return checkText;
  return scalar === ScalarType.DOUBLE || scalar === ScalarType.FLOAT ? checkNumber : undefined;
}

function checkOfOne({ scalar, message }: { scalar?: ScalarType; message?: DescMessage }): Check | undefined {
  if (scalar !== undefined) return checkOfScalar(scalar);
  return message === undefined ? undefined : checkOfMessage(message);
}

function checkOfField(field: DescField): Check | undefined {
  switch (field.fieldKind) {
    case "scalar":
      return checkOfScalar(field.scalar);
    case "message":
      return checkOfOne(field);
    case "list": {
      const check = checkOfOne(field);
      if (check === undefined) return undefined;
      return (value, path) => {
        const items = value as unknown[];
        for (let index = 0; index < items.length; index++) {
          const fault = check(items[index], `${path}[${index}]`);
          if (fault !== undefined) return fault;
        }
        return undefined;
      };
    }
    case "map": {
      const check = checkOfOne(field);
      const hasTextKeys = field.mapKey === ScalarType.STRING;
      if (check === undefined && !hasTextKeys) return undefined;
      return (value, path) => {
        for (const [key, item] of Object.entries(value as Record<string, unknown>)) {
          const fault = (hasTextKeys ? checkText(key, path) : undefined) ?? check?.(item, `${path}[${JSON.stringify(key)}]`);
          if (fault !== undefined) return fault;
        }
        return undefined;
      };
    }
    default:
      return undefined;
  }
}

/** The check of a message type; created once, so that a message type may contain itself. */
function checkOfMessage(desc: DescMessage): Check {
  const known = checks.get(desc);
  if (known !== undefined) return known;
  let fields: { field: DescField; check: Check }[] = [];
  const check: Check = (value, path) => {
    for (const { field, check: checkField } of fields) {
      const found = fieldValue(value as Message, field);
      if (found === undefined) continue;
      const fault = checkField(found, path === "" ? field.name : `${path}.${field.name}`);
      if (fault !== undefined) return fault;
    }
    return undefined;
  };
  checks.set(desc, check);
  fields = desc.fields.flatMap((field) => {
    const own = checkOfField(field);
    return own === undefined ? [] : [{ field, check: own }];
  });
  return check;
}

function fieldValue(message: Message, field: DescField): unknown {
  const fields = message as unknown as Record<string, unknown>;
  if (field.oneof === undefined) return fields[field.localName];
  const { case: chosen, value } = fields[field.oneof.localName] as { case?: string; value?: unknown };
  return chosen === field.localName ? value : undefined;
}

/**
 * The first value in a request that could not be stored or computed with: NUL in text, which PostgreSQL rejects; times
 * and durations out of their defined range; numbers that are not finite. Undefined when there is none. Bytes fields are
 * not checked.
 */
export function fieldFault(desc: DescMessage, message: Message): FieldFault | undefined {
  return checkOfMessage(desc)(message, "");
}
