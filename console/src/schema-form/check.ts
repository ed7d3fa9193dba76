import { Validator } from "@cfworker/json-schema";
import type { Schema } from "./schema.ts";

/** A fault of a value, at its place. */
export interface Fault {
  /** A JSON pointer; empty: the whole. */
  readonly path: string;
  readonly message: string;
}

/** Keywords that only repeat the faults below them. */
const enclosing = new Set(["properties", "items", "additionalProperties", "$ref", "allOf", "prefixItems", "patternProperties"]);

/** The faults of a JSON text against a schema; one for each place. */
export function faultsOf(schema: Schema, text: string): readonly Fault[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return [{ path: "", message: (error as Error).message }];
  }
  try {
    const { errors } = new Validator(schema as ConstructorParameters<typeof Validator>[0], "2020-12", false).validate(value);
    const found = new Map<string, string>();
    for (const { instanceLocation, keyword, error } of errors) {
      if (enclosing.has(keyword)) continue;
      const path = decodeURIComponent(instanceLocation.replace(/^#/, ""));
      if (!found.has(path)) found.set(path, error);
    }
    const rest = errors.length > 0 && found.size === 0 ? [{ path: "", message: errors[0]?.error ?? "" }] : [];
    return [...[...found].map(([path, message]) => ({ path, message })), ...rest];
  } catch {
    // A schema that the checker cannot read: the server decides.
    return [];
  }
}
