import { type DescMethod, type DescService, getOption, hasOption } from "@bufbuild/protobuf";
import { Access } from "@turnwright/contract/auth/v1/access";
import { surface } from "@turnwright/contract/errors/v1/surface";
import { http } from "@turnwright/contract/google/api/annotations";
import type { HttpRule } from "@turnwright/contract/google/api/http";
import { accessOf } from "@turnwright/platform/interceptors";

/** A public route, as the annotations have it. */
export interface PublicRoute {
  readonly method: DescMethod;
  readonly access: Access;
  readonly verb: string;
  /** `/v1/conversations/{conversation_id}` */
  readonly template: string;
  /** Names of the ids in the path. */
  readonly ids: readonly string[];
  /** A body that the route's own documentation gives. */
  readonly example: unknown;
}

function routesOfMethod(method: DescMethod): PublicRoute[] {
  const rule = getOption(method, http);
  return [rule, ...rule.additionalBindings].flatMap((item: HttpRule) => {
    const { case: kind, value } = item.pattern;
    if (kind === undefined || kind === "custom") return [];
    const template = value;
    const text = getOption(method, surface).requestExample;
    return {
      method,
      access: accessOf(method),
      verb: kind.toUpperCase(),
      template,
      ids: [...template.matchAll(/\{(\w+)/g)].map((match) => match[1] as string),
      example: text === "" ? undefined : JSON.parse(text),
    };
  });
}

/** The public routes of services, from their protos: OpenAI's surface too, which is annotated like the others. */
export function publicRoutes(services: readonly DescService[]): PublicRoute[] {
  return services
    .flatMap((service) => service.methods)
    .filter((method) => hasOption(method, http) && accessOf(method) !== Access.SERVICE)
    .flatMap(routesOfMethod);
}

/** The path of a route with values for its ids. */
export function pathOf(route: PublicRoute, ids: Readonly<Record<string, string>>): string {
  return route.template.replaceAll(/\{(\w+)(?:=[^}]*)?\}/g, (_whole, name: string) => ids[name] ?? crypto.randomUUID());
}

/** Routes whose ids no tenant test covers: one line each. `covered` names the kinds of ids that it makes. */
export function uncoveredIds(routes: readonly PublicRoute[], covered: readonly string[]): string[] {
  return routes.flatMap(({ verb, template, ids }) =>
    ids.filter((id) => !covered.includes(id)).map((id) => `${verb} ${template}: nothing makes a ${id} of another tenant`),
  );
}
