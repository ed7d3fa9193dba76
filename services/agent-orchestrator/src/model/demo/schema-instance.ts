import { textMatching } from "./pattern-text.ts";

/** A JSON Schema, as far as instances are made of it; unchecked. */
export interface JsonSchema {
  readonly [keyword: string]: unknown;
}

/** The most values of an instance: a schema of a few lines can describe billions. */
const maxValues = 1_000;
/** The longest text made for `minLength`, and the longest list made for `minItems`. */
const longestText = 10_000;
const longestList = 200;

/** Stands for values that a schema does not allow, and for those that would be too many. */
const impossible = Symbol("impossible");

/** Texts by `format`. */
const formats: Readonly<Record<string, string>> = {
  "date-time": "2026-01-02T03:04:05Z",
  date: "2026-01-02",
  time: "03:04:05Z",
  duration: "P1D",
  email: "demo@example.com",
  "idn-email": "demo@example.com",
  hostname: "example.com",
  "idn-hostname": "example.com",
  ipv4: "192.0.2.1",
  ipv6: "2001:db8::1",
  uuid: "01985f3c-0000-7000-8000-000000000001",
  uri: "https://example.com/",
  iri: "https://example.com/",
  url: "https://example.com/",
  "uri-reference": "/",
  "iri-reference": "/",
  "json-pointer": "/demo",
  "relative-json-pointer": "0",
  regex: ".*",
  byte: "ZGVtbw==",
};

/** Keywords that apply to values of one type only. */
const typeOfKeyword: Readonly<Record<string, string>> = {
  properties: "object",
  required: "object",
  additionalProperties: "object",
  minProperties: "object",
  items: "array",
  prefixItems: "array",
  minItems: "array",
  pattern: "string",
  format: "string",
  minLength: "string",
  maxLength: "string",
  minimum: "number",
  maximum: "number",
  exclusiveMinimum: "number",
  exclusiveMaximum: "number",
  multipleOf: "number",
};

/** The keywords that are read. */
const keywords = [...Object.keys(typeOfKeyword), ...["type", "maxItems", "enum", "const", "allOf", "anyOf", "oneOf", "$ref"]];

function isSchema(value: unknown): value is JsonSchema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function numberOr(value: unknown, otherwise: number): number {
  return typeof value === "number" && Number.isFinite(value) ? value : otherwise;
}

function namesIn(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((name) => typeof name === "string") : [];
}

function schemasIn(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

/** Characters as JSON Schema counts them. */
function cut(text: string, length: number): string {
  return [...text.slice(0, length * 2)].slice(0, length).join("");
}

/** Makes one instance of a schema. */
class Maker {
  readonly #root: unknown;
  readonly #words: string;
  /** References being followed: a schema that contains itself ends where it would begin again. */
  readonly #open: string[] = [];
  #values = 0;

  constructor(root: unknown, words: string) {
    this.#root = root;
    this.#words = words.slice(0, 400);
  }

  /** A value for a schema; `nth` makes the items of a list differ. */
  make(schema: unknown, nth = 0): unknown {
    this.#values += 1;
    if (this.#values > maxValues || schema === false) return impossible;
    if (!isSchema(schema)) return this.#text({}, nth);
    if (typeof schema.$ref === "string") return this.#referred(schema.$ref, schema, nth);
    if ("const" in schema) return schema.const;
    if (Array.isArray(schema.enum)) return schema.enum.length > 0 ? schema.enum[nth % schema.enum.length] : impossible;
    if (Array.isArray(schema.allOf)) return this.#all(schema, nth);
    for (const choice of ["anyOf", "oneOf"]) {
      if (Array.isArray(schema[choice])) return this.#any(schema, choice, nth);
    }
    return this.#typed(schema, nth);
  }

  #referred(reference: string, { $ref: _, ...beside }: JsonSchema, nth: number): unknown {
    if (this.#open.includes(reference)) return impossible;
    const target = this.#resolve(reference);
    if (target === undefined) return impossible;
    this.#open.push(reference);
    const value = this.make(isSchema(target) ? this.#merged(target, beside) : target, nth);
    this.#open.pop();
    return value;
  }

  /** Two schemas as one: the properties of both; of other keywords, the second one's come first. */
  #merged(base: JsonSchema, more: JsonSchema): JsonSchema {
    const kept = Object.fromEntries(keywords.flatMap((name) => (Object.hasOwn(base, name) ? [[name, base[name]]] : [])));
    const both = (name: string) => Object.hasOwn(kept, name) && Object.hasOwn(more, name);
    const properties = both("properties") ? { ...Object(kept.properties), ...Object(more.properties) } : undefined;
    const required = both("required") ? [...namesIn(kept.required), ...namesIn(more.required)] : undefined;
    this.#values += Object.keys(properties ?? {}).length + (required?.length ?? 0);
    return { ...kept, ...more, ...(properties && { properties }), ...(required && { required }) };
  }

  /** The schema at a JSON pointer within the document; undefined for others. */
  #resolve(reference: string): unknown {
    if (!/^#(?:\/|$)/.test(reference) || reference.length > 1_000) return undefined;
    let place: unknown = this.#root;
    for (const part of reference.split("/").slice(1)) {
      const name = part.replaceAll("~1", "/").replaceAll("~0", "~");
      if (typeof place !== "object" || place === null || !Object.hasOwn(place, name)) return undefined;
      place = (place as Record<string, unknown>)[name];
    }
    return place;
  }

  #all({ allOf, ...rest }: JsonSchema, nth: number): unknown {
    let whole: JsonSchema = {};
    for (const part of schemasIn(allOf)) {
      if (part === false || this.#values > maxValues) return impossible;
      if (!isSchema(part)) continue;
      const target = typeof part.$ref === "string" ? this.#resolve(part.$ref) : part;
      if (isSchema(target)) whole = this.#merged(whole, target);
    }
    return this.make(this.#merged(whole, rest), nth);
  }

  /** The first alternative that can be made. */
  #any(schema: JsonSchema, choice: string, nth: number): unknown {
    const { [choice]: alternatives, ...rest } = schema;
    for (const one of schemasIn(alternatives)) {
      if (this.#values > maxValues) break;
      const value = this.make(isSchema(one) ? this.#merged(rest, one) : one === true ? rest : one, nth);
      if (value !== impossible) return value;
    }
    return impossible;
  }

  #typed(schema: JsonSchema, nth: number): unknown {
    switch (this.#typeOf(schema)) {
      case "object":
        return this.#object(schema);
      case "array":
        return this.#array(schema);
      case "integer":
        return this.#number(schema, 1, nth);
      case "number":
        return this.#number(schema, 0, nth);
      case "boolean":
        return nth % 2 === 0;
      case "null":
        return null;
      default:
        return this.#text(schema, nth);
    }
  }

  #typeOf(schema: JsonSchema): string {
    const types = [schema.type].flat().filter((type) => typeof type === "string");
    const named = types.find((type) => type !== "null") ?? types[0];
    if (named !== undefined) return named;
    const keyword = Object.keys(typeOfKeyword).find((name) => name in schema);
    return keyword === undefined ? "string" : (typeOfKeyword[keyword] as string);
  }

  #object(schema: JsonSchema): unknown {
    const members = isSchema(schema.properties) ? Object.entries(schema.properties) : [];
    const required = new Set(namesIn(schema.required));
    const made: [string, unknown][] = [];
    for (const [name, property] of members) {
      const value = this.make(property);
      if (value !== impossible) made.push([name, value]);
      else if (required.has(name)) return impossible;
    }
    const known = new Set(members.map(([name]) => name));
    const others = schema.additionalProperties;
    const missing = [...required].filter((name) => !known.has(name));
    const least = Math.min(numberOr(schema.minProperties, 0), longestList);
    for (let i = 1; made.length + missing.length < least; i++) if (!known.has(`field${i}`)) missing.push(`field${i}`);
    for (const name of missing) {
      const value = this.make(others ?? true);
      if (value === impossible) return impossible;
      made.push([name, value]);
    }
    return Object.fromEntries(made);
  }

  #array(schema: JsonSchema): unknown {
    const first = schemasIn(schema.prefixItems);
    const most = Math.min(numberOr(schema.maxItems, longestList), longestList);
    const wanted = Math.min(Math.max(numberOr(schema.minItems, 0), first.length, schema.items === false ? 0 : 1), most);
    const items: unknown[] = [];
    for (let i = 0; i < wanted; i++) {
      const value = this.make(first[i] ?? schema.items ?? true, i);
      if (value === impossible) return items.length < numberOr(schema.minItems, 0) ? impossible : items;
      items.push(value);
    }
    return items;
  }

  /** The first number of the words, or 1, within the limits and on the grid. */
  #number(schema: JsonSchema, leastStep: number, nth: number): unknown {
    const step = Math.max(numberOr(schema.multipleOf, 0), leastStep);
    const grid = step > 0 ? step : 1;
    const above = numberOr(schema.exclusiveMinimum, Number.NEGATIVE_INFINITY);
    const below = numberOr(schema.exclusiveMaximum, Number.POSITIVE_INFINITY);
    const least = Math.max(numberOr(schema.minimum, Number.NEGATIVE_INFINITY), above);
    const most = Math.min(numberOr(schema.maximum, Number.POSITIVE_INFINITY), below);
    const wish = Number(/\d{1,9}/.exec(this.#words)?.[0] ?? 1) + nth * grid;
    const fits = (value: number) => value >= least && value <= most && value > above && value < below;
    const inside = Math.min(Math.max(wish, least), most);
    const middle = Number.isFinite(least + most) ? (least + most) / 2 : inside;
    const candidates = [Math.round(inside / grid) * grid, Math.ceil(inside / grid) * grid, Math.floor(inside / grid) * grid];
    if (Number.isFinite(least)) candidates.push((Math.floor(least / grid) + 1) * grid);
    if (Number.isFinite(most)) candidates.push((Math.ceil(most / grid) - 1) * grid);
    if (step === 0) candidates.push(middle);
    return candidates.find(fits) ?? impossible;
  }

  #text(schema: JsonSchema, nth: number): unknown {
    const most = numberOr(schema.maxLength, 200);
    const least = Math.min(numberOr(schema.minLength, 0), longestText);
    if (typeof schema.pattern === "string") return textMatching(schema.pattern, least) ?? impossible;
    if (typeof schema.format === "string" && Object.hasOwn(formats, schema.format)) return formats[schema.format];
    const mark = nth === 0 ? "" : ` ${nth + 1}`;
    const words = cut(this.#words, Math.max(0, Math.min(most, 200) - mark.length)) + mark;
    const text = cut(words, most);
    return [...text].length >= least ? text : text.padEnd(text.length + least - [...text].length, ".");
  }
}

/**
 * A value that a JSON Schema allows, of the user's words where they fit; undefined when none is found. Knows references
 * within the schema, alternatives, and the limits of each type; not `not`, `if` and `dependentSchemas`. Bounded in size
 * and time, whatever the schema says.
 */
export function instanceOf(schema: unknown, words: string): unknown {
  const value = new Maker(schema, words).make(schema);
  return value === impossible ? undefined : value;
}
