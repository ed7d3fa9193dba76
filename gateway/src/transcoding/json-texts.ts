import { type DescField, type DescMessage, getOption, hasOption, type JsonObject, type JsonValue } from "@bufbuild/protobuf";
import { json_text_of as jsonTextOf } from "@turnwright/contract/errors/v1/surface";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { elementTexts, memberTexts } from "@turnwright/platform/json/json-text";

/** Replaces values in a message's JSON with their text; `text` is the source of `json`. */
type PutTexts = (json: JsonObject, text: string) => void;

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const namesOf = ({ name, jsonName }: DescField) => [name, jsonName];

/** Fills a field with the text of another one. */
function putText(field: DescField, source: DescField): PutTexts {
  // Only a Value accepts null; elsewhere it counts as absent.
  const takesNull = source.message?.typeName === "google.protobuf.Value";
  return (json, text) => {
    const given = namesOf(source).find((name) => name in json && (takesNull || json[name] !== null));
    if (given === undefined) return;
    if (namesOf(field).some((name) => json[name] !== undefined && json[name] !== null)) {
      throw fail(ErrorReason.INVALID_REQUEST, `${field.name}: is the text of ${source.name}; give one of them`, {
        param: field.name,
      });
    }
    for (const name of namesOf(field)) delete json[name];
    json[field.name] = memberTexts(text).get(given) ?? "";
    delete json[given];
  };
}

/** Applies `put` to the messages in a field. */
function putWithin(field: DescField, put: PutTexts): PutTexts {
  return (json, text) => {
    const given = namesOf(field).find((name) => name in json);
    const value = given === undefined ? undefined : json[given];
    if (given === undefined || typeof value !== "object" || value === null) return;
    const inner = memberTexts(text).get(given) ?? "";
    if (!Array.isArray(value)) {
      put(value, inner);
      return;
    }
    const texts = elementTexts(inner);
    for (const [index, element] of value.entries()) if (isObject(element)) put(element, texts[index] ?? "");
  };
}

/** Compiles a message's `json_text_of` options; undefined, and free of cost, when it has none. */
export function compileJsonTexts(message: DescMessage, above: readonly DescMessage[] = []): PutTexts | undefined {
  if (above.includes(message)) return undefined;
  const puts = message.fields.flatMap((field): PutTexts[] => {
    if (hasOption(field, jsonTextOf)) {
      const source = message.fields.find(({ name }) => name === getOption(field, jsonTextOf));
      if (source === undefined) throw new Error(`${message.typeName} has no field of which ${field.name} is the text.`);
      return [putText(field, source)];
    }
    if (field.fieldKind === "map" || field.message === undefined) return [];
    const within = compileJsonTexts(field.message, [...above, message]);
    return within === undefined ? [] : [putWithin(field, within)];
  });
  return puts.length === 0
    ? undefined
    : (json, text) => {
        for (const put of puts) put(json, text);
      };
}
