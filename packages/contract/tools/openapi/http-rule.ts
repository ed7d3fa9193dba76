import { type DescField, type DescMessage, type DescMethod, getOption, hasOption } from "@bufbuild/protobuf";
import { http } from "../../gen/google/api/annotations_pb.ts";
import type { HttpRule } from "../../gen/google/api/http_pb.ts";
import { type Verb, verbs } from "./openapi-types.ts";

/** REST route of a method, from its `google.api.http` annotation. */
export interface Binding {
  readonly verb: Verb;
  /** OpenAPI path, with variables as `{field}` or `{field.subfield}` without segment patterns. */
  readonly path: string;
  /** Paths of the fields in the URL path, in order. */
  readonly pathFields: readonly string[];
  /** `*`: all fields that are not in the path. A field's name: this field. Empty: no body. */
  readonly body: string;
  /** Response field that is the body. Empty: the whole response. */
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

/** REST routes of a method, including additional bindings. Empty without an annotation. */
export function bindingsOf(method: DescMethod): Binding[] {
  if (!hasOption(method, http)) return [];
  const rule = getOption(method, http);
  return [rule, ...rule.additionalBindings].map((one) => bindingOf(one, method));
}

/** Field at a path such as `a.b`. Throws if there is none. */
export function fieldAt(message: DescMessage, path: string): DescField {
  const [name, ...rest] = path.split(".");
  const field = message.fields.find((one) => one.name === name);
  if (field === undefined) throw new Error(`${message.typeName} has no field ${path}`);
  if (rest.length === 0) return field;
  if (field.message === undefined) throw new Error(`${message.typeName}.${name} has no fields of its own`);
  return fieldAt(field.message, rest.join("."));
}
