/** A schema of the OpenAPI document, as far as its types go. */
interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly additionalProperties?: boolean | Schema;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly allOf?: readonly Schema[];
  readonly description?: string;
}

interface Media {
  readonly schema: Schema;
}

interface Operation {
  readonly parameters?: readonly { name: string; in: string; required?: boolean; schema: Schema }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, Media>> };
  readonly responses: Readonly<Record<string, { readonly content?: Readonly<Record<string, Media>> }>>;
}

/** The OpenAPI document, as far as its types go. */
export interface ApiDocument {
  readonly paths: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, unknown>> };
}

const plain: Readonly<Record<string, string>> = {
  string: "string",
  integer: "number",
  number: "number",
  boolean: "boolean",
  null: "null",
};
const verbs = ["get", "put", "post", "delete", "patch"];

const nameOf = (name: string) => name.replaceAll(/\W/g, "_");
const keyOf = (name: string) => (/^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name));
const union = (types: readonly string[]) => [...new Set(types)].join(" | ") || "unknown";

/** The TypeScript type of a schema. In answers every known field is present; in requests only the required ones. */
function typeOf(schema: Schema, isAnswer: boolean): string {
  if (schema.$ref !== undefined) return nameOf(schema.$ref.split("/").at(-1) ?? "");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum !== undefined) return union(schema.enum.map((value) => JSON.stringify(value)));
  const parts = schema.oneOf ?? (schema.type === undefined ? schema.anyOf : undefined);
  if (parts !== undefined) return union(parts.map((part) => typeOf(part, isAnswer)));
  if (schema.allOf?.length === 1 && schema.allOf[0] !== undefined) return typeOf(schema.allOf[0], isAnswer);
  const types = schema.type === undefined ? [schema.properties === undefined ? "" : "object"] : [schema.type].flat();
  return union(types.map((type) => single(type, schema, isAnswer)));
}

function single(type: string, schema: Schema, isAnswer: boolean): string {
  if (type === "array") {
    const item = typeOf(schema.items ?? {}, isAnswer);
    return `readonly ${/[ |]/.test(item) ? `(${item})` : item}[]`;
  }
  if (type === "object") return objectOf(schema, isAnswer);
  return plain[type] ?? "unknown";
}

function objectOf({ properties, required = [], additionalProperties }: Schema, isAnswer: boolean): string {
  if (properties === undefined) {
    const value = typeof additionalProperties === "object" ? typeOf(additionalProperties, isAnswer) : "unknown";
    return `Readonly<Record<string, ${value}>>`;
  }
  const fields = Object.entries(properties).map(([name, schema]) => {
    const isOptional = !isAnswer && !required.includes(name);
    return `readonly ${keyOf(name)}${isOptional ? "?" : ""}: ${typeOf(schema, isAnswer)};`;
  });
  return fields.length === 0 ? "Readonly<Record<string, never>>" : `{ ${fields.join(" ")} }`;
}

function parametersOf({ parameters = [] }: Operation, place: string): string {
  const properties = parameters.filter((one) => one.in === place).map(({ name, schema }) => [name, schema] as const);
  const required = parameters.filter((one) => one.in === place && one.required).map(({ name }) => name);
  return properties.length === 0 ? "undefined" : objectOf({ properties: Object.fromEntries(properties), required }, false);
}

function answerOf({ responses }: Operation): string {
  const good = Object.entries(responses).find(([status]) => status.startsWith("2"))?.[1];
  const schema = good?.content?.["application/json"]?.schema;
  if (schema === undefined) return "undefined";
  return typeOf(schema.properties?.success === undefined ? schema : (schema.properties.data ?? {}), true);
}

/** The fields that an example or an annotation says are always there stay; the rest may be absent in old answers. */
function schemasOf({ components }: ApiDocument): string[] {
  return Object.entries(components.schemas).map(([name, value]) => {
    const schema = value as Schema;
    const note = schema.description === undefined ? "" : `/** ${schema.description.replaceAll("*/", "*\\/")} */\n`;
    return `${note}export type ${nameOf(name)} = ${typeOf(schema, true)};\n`;
  });
}

/** The file of types of an API document. */
export function apiTypes(document: ApiDocument): string {
  const operations = Object.entries(document.paths).flatMap(([path, item]) =>
    verbs.flatMap((verb) => {
      const operation = item[verb] as Operation | undefined;
      if (operation === undefined) return [];
      const body = operation.requestBody?.content["application/json"]?.schema;
      return [
        `  readonly "${verb.toUpperCase()} ${path}": {`,
        `    readonly path: ${parametersOf(operation, "path")};`,
        `    readonly query: ${parametersOf(operation, "query")};`,
        `    readonly body: ${body === undefined ? "undefined" : typeOf(body, false)};`,
        `    readonly data: ${answerOf(operation)};`,
        "  };",
      ];
    }),
  );
  return [
    "// Written by `npm run generate` from packages/contract/openapi.json. Do not edit.\n",
    ...schemasOf(document),
    "/** The operations of the API, by verb and path: what they take and what they answer. */",
    "export interface Operations {",
    ...operations,
    "}\n",
  ].join("\n");
}
