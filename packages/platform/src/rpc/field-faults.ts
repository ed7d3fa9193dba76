import { type DescField, type DescMessage, type Message, ScalarType } from "@bufbuild/protobuf";
import { DurationSchema, type Struct, StructSchema, TimestampSchema, type Value, ValueSchema } from "@bufbuild/protobuf/wkt";

/** A field of a request that is not valid. */
export interface FieldFault {
  /** The field's path in proto names: `tags[2].label`. Empty: the request as a whole. */
  readonly path: string;
  readonly message: string;
}

/** Adds what is wrong with a value to `found`. */
type Check = (value: unknown, path: string) => void;

/** Faults of one request: beyond these, further ones are not looked for. */
export const maxFaults = 20;

/** The faults of the check in progress; checks are synchronous, and most find nothing. */
let found: FieldFault[] = [];

function report(path: string, message: string): void {
  if (found.length < maxFaults) found.push({ path, message });
}

/** The first and last millisecond of the years 1 to 9999 in UTC: the range of a Timestamp by its definition. */
const [firstMs, lastMs] = [-62_135_596_800_000, 253_402_300_799_999];
/** Seconds in 10,000 years: the longest Duration by its definition. */
const longestSeconds = 315_576_000_000n;

const checkText: Check = (value, path) => {
  if ((value as string).includes("\0")) report(path, "must not have NUL characters");
};

const checkNumber: Check = (value, path) => {
  if (!Number.isFinite(value)) report(path, "must be a finite number");
};

const checkTimestamp: Check = (value, path) => {
  const { seconds, nanos } = value as { seconds: bigint; nanos: number };
  // With the rounding of the conversion to a Date.
  const ms = Number(seconds) * 1_000 + Math.round(nanos / 1e6);
  const isTime = ms >= firstMs && ms <= lastMs && nanos >= 0 && nanos < 1e9;
  if (!isTime) report(path, "must be a time within the years 1 to 9999");
};

const checkDuration: Check = (value, path) => {
  const { seconds, nanos } = value as { seconds: bigint; nanos: number };
  const isDuration = seconds >= -longestSeconds && seconds <= longestSeconds && nanos > -1e9 && nanos < 1e9;
  if (!isDuration) report(path, "must be a duration of at most 10,000 years");
};

/** Checks JSON in fields of google.protobuf.Struct. */
const checkJson: Check = (value, path) => {
  if (typeof value === "string") return checkText(value, path);
  if (typeof value === "number") return checkNumber(value, path);
  if (typeof value !== "object" || value === null) return;
  for (const [key, item] of Object.entries(value)) {
    checkText(key, path);
    checkJson(item, Array.isArray(value) ? `${path}[${key}]` : `${path}.${key}`);
  }
};

const checkValue: Check = (value, path) => {
  const { kind } = value as Value;
  if (kind.case === "structValue") return checkStruct(kind.value, path);
  if (kind.case !== "listValue") return checkJson(kind.value, path);
  for (const [index, item] of kind.value.values.entries()) checkValue(item, `${path}[${index}]`);
};

/** Checks a Struct: plain JSON in a field of a message, a message with `fields` inside a Value or on its own. */
const checkStruct: Check = (value, path) => {
  if (!("$typeName" in (value as object))) return checkJson(value, path);
  for (const [key, item] of Object.entries((value as Struct).fields)) {
    checkText(key, path);
    checkValue(item, path === "" ? key : `${path}.${key}`);
  }
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
        for (let index = 0; index < items.length; index++) check(items[index], `${path}[${index}]`);
      };
    }
    case "map": {
      const check = checkOfOne(field);
      const hasTextKeys = field.mapKey === ScalarType.STRING;
      if (check === undefined && !hasTextKeys) return undefined;
      return (value, path) => {
        for (const [key, item] of Object.entries(value as Record<string, unknown>)) {
          if (hasTextKeys) checkText(key, path);
          check?.(item, `${path}[${JSON.stringify(key)}]`);
        }
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
      const held = fieldValue(value as Message, field);
      if (held !== undefined) checkField(held, path === "" ? field.name : `${path}.${field.name}`);
    }
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
 * The values in a request that could not be stored or computed with, up to `maxFaults`: NUL in text, which PostgreSQL
 * rejects; times and durations out of their defined range; numbers that are not finite. Bytes fields are not checked.
 */
export function fieldFaults(desc: DescMessage, message: Message): readonly FieldFault[] {
  checkOfMessage(desc)(message, "");
  if (found.length === 0) return found;
  const faults = found;
  found = [];
  return faults;
}
