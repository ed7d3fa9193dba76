import type { DescFile, DescMessage, DescService } from "@bufbuild/protobuf";
import { nestedTypes } from "@bufbuild/protobuf/reflect";
import rootPackage from "../../../../package.json" with { type: "json" };
import { errorResponses, errorSchema, errorSchemaName } from "./error-responses.ts";
import { healthPaths } from "./health.ts";
import { type OpenApiDocument, type PathItem, verbs } from "./openapi-types.ts";
import { operationOf } from "./operation.ts";
import { type Endpoint, endpointsOf, foreignMessages, partialMessages, routesOf } from "./routes.ts";
import { createSchemas } from "./schema.ts";

function byKey<T>(record: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Finds message types in files and their imports. */
function messageResolver(files: Iterable<DescFile>): (typeName: string) => DescMessage {
  const messages = new Map<string, DescMessage>();
  const seen = new Set<string>();
  const visit = (file: DescFile): void => {
    if (seen.has(file.name)) return;
    seen.add(file.name);
    for (const type of nestedTypes(file)) if (type.kind === "message") messages.set(type.typeName, type);
    file.dependencies.forEach(visit);
  };
  for (const file of files) visit(file);
  return (typeName) => {
    const message = messages.get(typeName);
    if (message === undefined) throw new Error(`no message type ${typeName} in the files of the API`);
    return message;
  };
}

const bearerDescription =
  "Access token of a login, or API key (`sk-…`), without the word Bearer. A key that lists scopes needs one of the scopes that the operation names.";

/** Operation ids: `Service_Method`, numbered from the second route of a method on. */
function operationIds(endpoints: readonly Endpoint[]): string[] {
  const uses = new Map<string, number>();
  return endpoints.map(({ unary, stream }) => {
    const method = (unary ?? stream)?.method;
    const id = `${method?.parent.name}_${method?.name}`;
    const use = (uses.get(id) ?? 0) + 1;
    uses.set(id, use);
    return use === 1 ? id : `${id}_${use}`;
  });
}

/**
 * OpenAPI 3.1 document of the services' REST routes that clients outside of the mesh may call, and of the gateway's
 * health endpoints. Message types named by surface options are looked up in the services' files and in `files`.
 * Descriptions need descriptors with source info. Throws on contradictory annotations.
 */
export function buildOpenApi(services: readonly DescService[], files: Iterable<DescFile> = []): OpenApiDocument {
  const routes = routesOf(services);
  const resolve = messageResolver([...services.map((service) => service.file), ...files]);
  const schemas = createSchemas({ partial: partialMessages(routes, resolve), foreign: foreignMessages(routes, resolve) }, [
    errorSchemaName,
  ]);
  const endpoints = endpointsOf(routes);
  const ids = operationIds(endpoints);
  const paths: Record<string, PathItem> = { ...healthPaths };
  endpoints.forEach((endpoint, index) => {
    const { path, verb } = endpoint.binding;
    paths[path] = { ...paths[path], [verb]: operationOf(endpoint, ids[index] ?? "", { schemas, resolve }) };
  });
  for (const [path, item] of Object.entries(paths)) {
    paths[path] = Object.fromEntries(verbs.flatMap((verb) => (item[verb] === undefined ? [] : [[verb, item[verb]]])));
  }
  const tags = new Set(Object.values(paths).flatMap((item) => verbs.flatMap((verb) => item[verb]?.tags ?? [])));
  return {
    openapi: "3.1.0",
    info: {
      title: "Turnwright API",
      version: rootPackage.version,
      description: rootPackage.description,
      license: { name: rootPackage.license, identifier: rootPackage.license },
    },
    servers: [{ url: "/" }],
    tags: [...tags].sort().map((name) => ({ name })),
    paths: byKey(paths),
    components: {
      securitySchemes: {
        bearerAuth: { type: "http", scheme: "bearer", description: bearerDescription },
      },
      schemas: byKey({ ...schemas.components, [errorSchemaName]: errorSchema }),
      responses: errorResponses,
    },
  };
}
