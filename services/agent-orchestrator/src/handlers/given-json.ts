import type { JsonValue } from "@bufbuild/protobuf";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { isTooDeep, maxJsonDepth } from "@turnwright/platform/json/json-depth";

function invalid(param: string, what: string) {
  return fail(ErrorReason.INVALID_REQUEST, `${param}: ${what}`, { param });
}

/**
 * Whether a value has a number that may not be the one that its client wrote: it came through a double, which holds
 * whole numbers up to 2^53.
 */
function hasLostNumber(value: JsonValue): boolean {
  if (typeof value === "number") return !(Math.abs(value) <= Number.MAX_SAFE_INTEGER);
  return typeof value === "object" && value !== null && Object.values(value).some(hasLostNumber);
}

/**
 * The JSON text of what a person gives, either as text, which stays as it is, or as a value; empty: neither. `name` is
 * that of the value's field. Throws INVALID_REQUEST.
 */
export function givenJson(name: string, given: { text: string; value: JsonValue | undefined }): string {
  const { text, value } = given;
  if (text === "") {
    if (value === undefined) return "";
    if (hasLostNumber(value)) {
      throw invalid(name, `has a number beyond 2^53, which may have lost digits on the way; give the JSON text in ${name}_json`);
    }
    return JSON.stringify(value);
  }
  if (value !== undefined) throw invalid(`${name}_json`, `stands for ${name}; give one of them`);
  if (isTooDeep(text)) throw invalid(name, `nests deeper than ${maxJsonDepth} levels`);
  try {
    JSON.parse(text);
  } catch {
    throw invalid(`${name}_json`, "is not JSON");
  }
  return text;
}

/** The same of an object. */
export function givenObject(name: string, given: { text: string; value: JsonValue | undefined }): string {
  const json = givenJson(name, given);
  if (json !== "" && !json.trimStart().startsWith("{")) throw invalid(name, "must be a JSON object");
  return json;
}
