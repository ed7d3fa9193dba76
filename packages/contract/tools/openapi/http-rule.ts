import { type DescField, type DescMessage, type DescMethod, getOption, hasOption } from "@bufbuild/protobuf";
import { http } from "../../gen/google/api/annotations_pb.ts";
import type { HttpRule } from "../../gen/google/api/http_pb.ts";
import { type Verb, verbs } from "./openapi-types.ts";

/** One REST route of a method, as its `google.api.http` annotation says. */
export interface Binding {
  readonly verb: Verb;
  /** OpenAPI path: variables as `{field}` or `{field.subfield}`, without their segment patterns. */
  readonly path: string;
  /** Field paths that the URL path carries, in the order of the template. */
  readonly pathFields: readonly string[];
  /** `*`: every field that the path does not carry; a field's name: that field; empty: no body. */
  readonly body: string;
  /** The response field that makes the body; empty: the whole response. */
  readonly responseBody: string;
}

function verbAndTemplate(rule: HttpRule, method: DescMethod): [string, string] {
  const { pattern } = rule;
  if (pattern.case === undefined) throw new Error(`${method.parent.typeName}.${method.name}: HTTP rule without a path`);
  return pattern.case === "custom" ? [pattern.value.kind.toLowerCase(), pattern.value.path] : [pattern.case, pattern.value];
}

function bindingOf(rule: HttpRule, method: DescMethod): Binding {
  const [name, template] = verbAndTemplate(rule, method);
  const verb = verbs.find((known) => known === name);
  if (verb === undefined) throw new Error(`${method.parent.typeName}.${method.name}: OpenAPI has no HTTP method ${name}`);
  const pathFields: string[] = [];
  const path = template.replace(/\{([^}=]+)(?:=[^}]*)?\}/g, (_match, field: string) => {
    pathFields.push(field.trim());
    return `{${field.trim()}}`;
  });
  return { verb, path, pathFields, body: rule.body, responseBody: rule.responseBody };
}

/** The REST routes of a method, additional bindings included; none without an annotation. */
export function bindingsOf(method: DescMethod): Binding[] {
  if (!hasOption(method, http)) return [];
  const rule = getOption(method, http);
  return [rule, ...rule.additionalBindings].map((one) => bindingOf(one, method));
}

/** The field at a path as `a.b`. Throws when the message has none. */
export function fieldAt(message: DescMessage, path: string): DescField {
  const [name, ...rest] = path.split(".");
  const field = message.fields.find((one) => one.name === name);
  if (field === undefined) throw new Error(`${message.typeName} has no field ${path}`);
  if (rest.length === 0) return field;
  if (field.message === undefined) throw new Error(`${message.typeName}.${name} has no fields of its own`);
  return fieldAt(field.message, rest.join("."));
}
