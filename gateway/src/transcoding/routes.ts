import { type DescMethod, type DescService, getOption, hasOption } from "@bufbuild/protobuf";
import { Access } from "@turnwright/contract/auth/v1/access";
import { type Surface, surface } from "@turnwright/contract/errors/v1/surface";
import { http } from "@turnwright/contract/google/api/annotations";
import type { HttpRule } from "@turnwright/contract/google/api/http";
import { accessOf } from "@turnwright/platform/rpc/interceptors";
import { compilePathTemplate, type PathTemplate } from "./path-template.ts";

/** A method bound to a verb and path by its annotation. */
export interface Binding {
  readonly method: DescMethod;
  readonly access: Access;
  readonly surface: Surface;
  readonly path: PathTemplate;
  /** `*`, the proto name of a field, or empty: no body. */
  readonly body: string;
  /** The proto name of the response field to return; empty: the whole message. */
  readonly responseBody: string;
}

/** The methods at a verb and path: unary, stream, or both; the request chooses. */
export interface Route {
  readonly verb: string;
  readonly path: PathTemplate;
  unary?: Binding;
  stream?: Binding;
}

function bindingsOf(method: DescMethod): { verb: string; binding: Binding }[] {
  const rule = getOption(method, http);
  const common = { method, access: accessOf(method), surface: getOption(method, surface) };
  return [rule, ...rule.additionalBindings].map((item: HttpRule) => {
    const { case: kind, value } = item.pattern;
    if (kind === undefined) throw new Error(`The HTTP annotation of ${method.parent.typeName}.${method.name} has no path.`);
    const [verb, template] = kind === "custom" ? [value.kind, value.path] : [kind, value];
    return {
      verb: verb.toUpperCase(),
      binding: { ...common, path: compilePathTemplate(template), body: item.body, responseBody: item.responseBody },
    };
  });
}

/**
 * The route table of services, read from their annotations. Excludes methods for services of the mesh and those of the
 * OpenAI surface. Throws when two methods of a kind claim the same verb and path, or two methods of one path differ in
 * access.
 */
export function routesOf(services: readonly DescService[]): Route[] {
  const routes = new Map<string, Route>();
  for (const method of services.flatMap((service) => service.methods)) {
    if (!hasOption(method, http) || accessOf(method) === Access.SERVICE || getOption(method, surface).openai) continue;
    const kind = method.methodKind === "unary" ? "unary" : method.methodKind === "server_streaming" ? "stream" : undefined;
    if (kind === undefined)
      throw new Error(`${method.parent.typeName}.${method.name} streams requests, which REST cannot carry.`);
    for (const { verb, binding } of bindingsOf(method)) {
      const key = `${verb} ${binding.path.pattern.source}`;
      const route = routes.get(key) ?? { verb, path: binding.path };
      if (route[kind] !== undefined) throw new Error(`${verb} ${binding.path.template} is claimed by two methods.`);
      const other = route.unary ?? route.stream;
      if (other !== undefined && other.access !== binding.access)
        throw new Error(`${verb} ${binding.path.template} admits different callers as a stream and as a unary method.`);
      route[kind] = binding;
      routes.set(key, route);
    }
  }
  return [...routes.values()];
}
