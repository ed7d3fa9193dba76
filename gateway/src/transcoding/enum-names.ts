import type { DescEnum, DescField, DescMessage, JsonValue } from "@bufbuild/protobuf";
import { ErrorReason, fail } from "@turnwright/platform/errors";

type Check = (json: JsonValue | undefined) => void;

/**
 * Throws INVALID_REQUEST unless the value is a name of the enum or a number: protobuf-es would silently drop an unknown
 * name together with unknown fields.
 */
export function checkEnumName(desc: DescEnum, param: string, value: JsonValue | undefined): void {
  if (typeof value !== "string" || desc.values.some(({ name }) => name === value)) return;
  const names = desc.values.map(({ name }) => name).join(", ");
  throw fail(ErrorReason.INVALID_REQUEST, `${param}: expected one of ${names}, got ${JSON.stringify(value)}`, { param });
}

/** The check of a field's value; undefined when it contains no enum. */
function fieldCheck(field: DescField, seen: Map<DescMessage, Check>): Check | undefined {
  if (field.enum !== undefined) {
    const desc = field.enum;
    const one: Check = (json) => checkEnumName(desc, field.name, json);
    return eachOf(field, one);
  }
  if (field.message === undefined) return undefined;
  const nested = messageCheck(field.message, seen);
  return nested && eachOf(field, nested);
}

function eachOf(field: DescField, check: Check): Check {
  if (field.fieldKind === "list") {
    return (json) => {
      if (Array.isArray(json)) for (const item of json) check(item);
    };
  }
  if (field.fieldKind === "map") {
    return (json) => {
      if (typeof json === "object" && json !== null) for (const item of Object.values(json)) check(item);
    };
  }
  return check;
}

function messageCheck(desc: DescMessage, seen: Map<DescMessage, Check>): Check | undefined {
  if (desc.typeName.startsWith("google.protobuf.")) return undefined;
  const known = seen.get(desc);
  if (known !== undefined) return known;
  const checks: [DescField, Check][] = [];
  const check: Check = (json) => {
    if (typeof json !== "object" || json === null || Array.isArray(json)) return;
    for (const [field, checkField] of checks) checkField(json[field.name] ?? json[field.jsonName]);
  };
  // Registered before its fields: a message type may contain itself.
  seen.set(desc, check);
  for (const field of desc.fields) {
    const checkField = fieldCheck(field, seen);
    if (checkField !== undefined) checks.push([field, checkField]);
  }
  return check;
}

/** Whether a message contains an enum at any depth. */
function holdsEnum(desc: DescMessage, seen = new Set<DescMessage>()): boolean {
  if (seen.has(desc) || desc.typeName.startsWith("google.protobuf.")) return false;
  seen.add(desc);
  return desc.fields.some((field) => field.enum !== undefined || (field.message !== undefined && holdsEnum(field.message, seen)));
}

/** Compiles the check of all enums in a message's JSON; undefined, and free of cost, when there are none. */
export function compileEnumCheck(desc: DescMessage): Check | undefined {
  return holdsEnum(desc) ? messageCheck(desc, new Map()) : undefined;
}
