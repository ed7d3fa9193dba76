import type { JsonValue } from "@bufbuild/protobuf";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { isTooDeep, maxJsonDepth } from "@turnwright/platform/json/json-depth";

function invalid(param: string, problem: string) {
  return fail(ErrorReason.INVALID_REQUEST, `${param}: ${problem}`, { param });
}

/**
 * Whether a value holds a number that may have changed in transit: it was carried as a double, which is exact for whole
 * numbers up to 2^53 only.
 */
function hasLostNumber(value: JsonValue): boolean {
  if (typeof value === "number") return !(Math.abs(value) <= Number.MAX_SAFE_INTEGER);
  return typeof value === "object" && value !== null && Object.values(value).some(hasLostNumber);
}

/**
 * The JSON text that a client gives in one of two fields: `<name>_json`, a text that is kept as it is, or `<name>`, a
 * value. Empty when neither is set. Throws INVALID_REQUEST.
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
  if (value !== undefined) throw invalid(`${name}_json`, `replaces ${name}; give one of them`);
  if (isTooDeep(text)) throw invalid(name, `nests deeper than ${maxJsonDepth} levels`);
  try {
    JSON.parse(text);
  } catch {
    throw invalid(`${name}_json`, "is not JSON");
  }
  return text;
}

/** Like `givenJson`, for a JSON object. */
export function givenObject(name: string, given: { text: string; value: JsonValue | undefined }): string {
  const json = givenJson(name, given);
  if (json !== "" && !json.trimStart().startsWith("{")) throw invalid(name, "must be a JSON object");
  return json;
}
