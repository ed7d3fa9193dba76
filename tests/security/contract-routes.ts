import { type DescMethod, type DescService, getOption, hasOption, ScalarType } from "@bufbuild/protobuf";
import { Access, access } from "@turnwright/contract/auth/v1/access";
import { surface } from "@turnwright/contract/errors/v1/surface";
import { http } from "@turnwright/contract/google/api/annotations";

/** One external entry to a method: a verb and path, or its Connect path. */
export interface Entry {
  /** `POST /v1/things/{thing_id} (ThingService.GetThing)`. */
  readonly name: string;
  readonly method: DescMethod;
  readonly access: Access;
  readonly surface: "rest" | "connect";
  readonly verb: string;
  /** Path with `{field}` for each field in it. */
  readonly template: string;
  /** Names of the fields in the path. */
  readonly pathFields: readonly string[];
  /** `*`, the name of a field, or empty: no body. */
  readonly body: string;
  readonly isStream: boolean;
  /** The contract's example request. */
  readonly example: Readonly<Record<string, unknown>> | readonly unknown[];
}

const shortName = (method: DescMethod) => `${method.parent.name}.${method.name}`;

function entriesOf(method: DescMethod): Entry[] {
  const { requestExample } = getOption(method, surface);
  const common = {
    method,
    access: getOption(method, access),
    isStream: method.methodKind !== "unary",
    example: requestExample === "" ? {} : JSON.parse(requestExample),
  };
  const connect: Entry = {
    ...common,
    name: `Connect ${shortName(method)}`,
    surface: "connect",
    verb: "POST",
    template: `/${method.parent.typeName}/${method.name}`,
    pathFields: [],
    body: "*",
  };
  if (!hasOption(method, http)) return [connect];
  const rule = getOption(method, http);
  const rest = [rule, ...rule.additionalBindings].map(({ pattern, body }): Entry => {
    if (pattern.case === undefined) throw new Error(`${shortName(method)}: an HTTP rule without a path`);
    const [verb, template] = pattern.case === "custom" ? [pattern.value.kind, pattern.value.path] : [pattern.case, pattern.value];
    const pathFields = [...template.matchAll(/\{([^}=]+)(?:=[^}]*)?\}/g)].map(([, field = ""]) => field);
    const name = `${verb.toUpperCase()} ${template} (${shortName(method)})`;
    return { ...common, name, surface: "rest", verb: verb.toUpperCase(), template, pathFields, body };
  });
  return [...rest, connect];
}

/** Every entry to the methods of services. */
export function entriesOfServices(services: readonly DescService[]): Entry[] {
  return services.flatMap((service) => service.methods.flatMap(entriesOf));
}

/**
 * The fields of a request that name a resource: texts in a path, and fields named `…_id`. A number in a path is a place
 * in the resource that the path names.
 */
export function idFieldsOf(entry: Entry): string[] {
  const { fields } = entry.method.input;
  const named = fields.map(({ name }) => name).filter((name) => /(^|_)id$/.test(name));
  const isText = (name: string) => fields.find((field) => field.name === name)?.scalar === ScalarType.STRING;
  return [...new Set([...entry.pathFields.filter(isText), ...named])];
}

/** Parts of the contract that the matrix would not guard; empty if it guards everything. */
export function unguarded(
  services: readonly DescService[],
  known: {
    /** `Service.Method` of the methods that are public on purpose. */
    publicMethods: readonly string[];
    /** Fields that name a resource that the matrix can create. */
    kinds: readonly string[];
  },
): string[] {
  return services
    .flatMap((service) => service.methods)
    .flatMap((method) => {
      const name = shortName(method);
      const declared = getOption(method, access);
      // Unreachable from outside, which the matrix tests.
      if (declared === Access.SERVICE) return [];
      if (declared === Access.UNSPECIFIED) return [`${name}: declares no access`];
      if (declared === Access.PUBLIC) {
        return known.publicMethods.includes(name) ? [] : [`${name}: is public but not listed as public`];
      }
      const fields = new Set(entriesOf(method).flatMap(idFieldsOf));
      return [...fields]
        .filter((field) => !known.kinds.includes(field))
        .map((field) => `${name}: no resource is known for ${field}, so no other tenant tried to reach it`);
    });
}
