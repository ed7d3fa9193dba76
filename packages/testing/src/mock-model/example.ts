interface Schema {
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly minItems?: number;
  readonly minLength?: number;
  readonly minimum?: number;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly $ref?: string;
  readonly $defs?: Readonly<Record<string, Schema>>;
}

const maxDepth = 16;

/** The smallest value of a JSON schema: required properties alone, first choices, lowest numbers. */
export function exampleOf(root: object): unknown {
  const build = (schema: Schema, depth: number): unknown => {
    if (depth > maxDepth) return null;
    const name = schema.$ref?.replace("#/$defs/", "");
    if (name !== undefined) return build((root as Schema).$defs?.[name] ?? {}, depth + 1);
    if (schema.const !== undefined) return schema.const;
    if (schema.default !== undefined) return schema.default;
    if (schema.enum !== undefined) return schema.enum[0];
    const choice = schema.anyOf?.[0] ?? schema.oneOf?.[0];
    if (choice !== undefined) return build(choice, depth + 1);
    const type = typeof schema.type === "object" ? schema.type[0] : schema.type;
    switch (type) {
      case "string":
        return "x".repeat(Math.max(1, Math.min(schema.minLength ?? 1, 1_000)));
      case "integer":
      case "number":
        return schema.minimum ?? 1;
      case "boolean":
        return true;
      case "null":
        return null;
      case "array":
        return Array.from({ length: Math.min(schema.minItems ?? 0, 100) }, () => build(schema.items ?? {}, depth + 1));
      default: {
        const wanted = schema.required ?? [];
        return Object.fromEntries(wanted.map((key) => [key, build(schema.properties?.[key] ?? {}, depth + 1)]));
      }
    }
  };
  return build(root as Schema, 0);
}
