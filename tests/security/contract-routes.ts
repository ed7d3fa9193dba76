import { type DescMethod, type DescService, getOption, hasOption } from "@bufbuild/protobuf";
import { Access, access } from "@turnwright/contract/auth/v1/access";
import { surface } from "@turnwright/contract/errors/v1/surface";
import { http } from "@turnwright/contract/google/api/annotations";

/** One way in from outside: a method by one verb and path, or by its Connect path. */
export interface Entry {
  /** `POST /v1/things/{thing_id} (ThingService.GetThing)`. */
  readonly name: string;
  readonly method: DescMethod;
  readonly access: Access;
  readonly surface: "rest" | "connect";
  readonly verb: string;
  /** With `{field}` for each field in the path. */
  readonly template: string;
  /** Names of the fields in the path. */
  readonly pathFields: readonly string[];
  /** `*`, the name of a field, or empty: no body. */
  readonly body: string;
  readonly isStream: boolean;
  /** A request that the contract gives as its example. */
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

/** Every way in to the methods of services. */
export function entriesOfServices(services: readonly DescService[]): Entry[] {
  return services.flatMap((service) => service.methods.flatMap(entriesOf));
}

/** The fields of a request that name a resource: those in a path, and those called `…_id`. */
export function idFieldsOf(entry: Entry): string[] {
  const named = entry.method.input.fields.map(({ name }) => name).filter((name) => /(^|_)id$/.test(name));
  return [...new Set([...entry.pathFields, ...named])];
}

/** What of the contract the matrix would not guard; empty when it guards everything. */
export function unguarded(
  services: readonly DescService[],
  known: {
    /** `Service.Method` of the methods that are public on purpose. */
    publicMethods: readonly string[];
    /** Fields that name a resource of which the matrix can make one. */
    kinds: readonly string[];
  },
): string[] {
  return services
    .flatMap((service) => service.methods)
    .flatMap((method) => {
      const name = shortName(method);
      const declared = getOption(method, access);
      // Not reachable from outside, which the matrix tries.
      if (declared === Access.SERVICE) return [];
      if (declared === Access.UNSPECIFIED) return [`${name}: does not declare who may call it`];
      if (declared === Access.PUBLIC) {
        return known.publicMethods.includes(name) ? [] : [`${name}: is public, and nobody said that it may be`];
      }
      const fields = new Set(entriesOf(method).flatMap(idFieldsOf));
      return [...fields]
        .filter((field) => !known.kinds.includes(field))
        .map((field) => `${name}: nobody knows how to make what ${field} names, so no other tenant tried to reach it`);
    });
}
