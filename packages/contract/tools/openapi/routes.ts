import { type DescMessage, type DescMethod, type DescService, getOption } from "@bufbuild/protobuf";
import { Access, access, scopes } from "../../gen/turnwright/auth/v1/access_pb.ts";
import { type Surface, surface } from "../../gen/turnwright/errors/v1/surface_pb.ts";
import { type Binding, bindingsOf } from "./http-rule.ts";

/** REST route of a method. */
export interface Route {
  readonly method: DescMethod;
  readonly binding: Binding;
  readonly surface: Surface;
  readonly access: Access;
  /** Scopes that admit an API key; one suffices. */
  readonly scopes: readonly string[];
}

/** `Service.Method`, for error messages. */
export function methodName(method: DescMethod): string {
  return `${method.parent.typeName}.${method.name}`;
}

/**
 * Routes that clients outside of the mesh may call, by service name, then in order of declaration. Throws for a route
 * whose method has no access option.
 */
export function routesOf(services: readonly DescService[]): Route[] {
  const sorted = [...services].sort((a, b) => (a.typeName < b.typeName ? -1 : 1));
  return sorted.flatMap((service) => service.methods.flatMap(methodRoutes));
}

function methodRoutes(method: DescMethod): Route[] {
  const bindings = bindingsOf(method);
  if (bindings.length === 0) return [];
  const allowed = getOption(method, access);
  if (allowed === Access.SERVICE) return [];
  if (allowed === Access.UNSPECIFIED) throw new Error(`${methodName(method)} has a REST route and no access option`);
  if (method.methodKind !== "unary" && method.methodKind !== "server_streaming") {
    throw new Error(`${methodName(method)} streams from the client; REST has no such route`);
  }
  return bindings.map((binding) => ({
    method,
    binding,
    surface: getOption(method, surface),
    access: allowed,
    scopes: getOption(method, scopes),
  }));
}

/** Routes of one path and verb: at most one unary and one streaming. */
export interface Endpoint {
  readonly binding: Binding;
  readonly unary?: Route;
  readonly stream?: Route;
}

/** Groups routes by path and verb. Throws if two unary or two streaming routes share them. */
export function endpointsOf(routes: readonly Route[]): Endpoint[] {
  const endpoints = new Map<string, Endpoint>();
  for (const route of routes) {
    const { verb, path } = route.binding;
    const known = endpoints.get(`${verb} ${path}`);
    const kind = route.method.methodKind === "unary" ? "unary" : "stream";
    const rival = known?.[kind];
    if (rival !== undefined) throw new Error(`${methodName(rival.method)} and ${methodName(route.method)} share ${verb} ${path}`);
    endpoints.set(`${verb} ${path}`, { ...known, binding: known?.unary?.binding ?? route.binding, [kind]: route });
  }
  return [...endpoints.values()];
}

function closure(message: DescMessage, into: Set<string>): void {
  if (into.has(message.typeName)) return;
  into.add(message.typeName);
  for (const { message: child } of message.fields) if (child !== undefined) closure(child, into);
}

/**
 * Names of messages whose responses omit fields: events, which have only the fields of their type, and bodies that
 * cross the mesh as bytes with everything nested in them, because OpenAI omits empty fields.
 */
export function partialMessages(routes: readonly Route[], resolve: (typeName: string) => DescMessage): Set<string> {
  const partial = new Set<string>();
  for (const { surface: look } of routes) {
    for (const name of [look.responseSchema, look.eventSchema]) if (name !== "") closure(resolve(name), partial);
  }
  // Not a closure: an event omits fields of its own, but messages nested in it are complete.
  for (const { method } of routes) if (method.methodKind === "server_streaming") partial.add(method.output.typeName);
  return partial;
}

/** Names of messages that document another API's requests, with everything nested in them: OpenAI's bodies. */
export function foreignMessages(routes: readonly Route[], resolve: (typeName: string) => DescMessage): Set<string> {
  const foreign = new Set<string>();
  for (const { surface: look } of routes) if (look.requestSchema !== "") closure(resolve(look.requestSchema), foreign);
  return foreign;
}
