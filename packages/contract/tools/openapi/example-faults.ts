import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import formats from "ajv-formats";
import { type MediaType, type OpenApiDocument, type Operation, type Response, verbs } from "./openapi-types.ts";

/** Operations of a document with their keys (`verb path`), in the document's order. */
export function operationsOf(document: OpenApiDocument): [string, Operation][] {
  return Object.entries(document.paths).flatMap(([path, item]) =>
    verbs.flatMap((verb): [string, Operation][] => (item[verb] === undefined ? [] : [[`${verb} ${path}`, item[verb]]])),
  );
}

/** Resolves a response that may be a reference. */
export function resolvedResponse(document: OpenApiDocument, response: Response): Response {
  const name = response.$ref?.replace("#/components/responses/", "");
  return name === undefined ? response : (document.components.responses[name] ?? {});
}

/** Example values of a body. */
export function examplesOf({ example, examples }: MediaType): unknown[] {
  return examples === undefined ? [example] : Object.values(examples).map(({ value }) => value);
}

/** Parameters and bodies without an example, or with one that does not match the schema. For tests. */
export function exampleFaults(document: OpenApiDocument): string[] {
  const ajv = formats.default(new Ajv2020({ strict: false, allErrors: true }));
  ajv.addFormat("int32", true).addFormat("double", true).addFormat("float", true);
  ajv.addSchema({ ...document, $id: "openapi" });
  const faults: string[] = [];
  /** Many operations share a schema, and compiling one takes milliseconds. */
  const compiled = new Map<string, ValidateFunction>();
  const validatorOf = (schema: object): ValidateFunction => {
    const rooted = JSON.stringify(schema).replaceAll('"#/components', '"openapi#/components');
    const validate = compiled.get(rooted) ?? ajv.compile(JSON.parse(rooted));
    compiled.set(rooted, validate);
    return validate;
  };
  const check = (name: string, schema: object, example: unknown): void => {
    const validate = validatorOf(schema);
    if (example === undefined) faults.push(`${name} has no example`);
    else if (!validate(example)) faults.push(`${name} ${ajv.errorsText(validate.errors)}: ${JSON.stringify(example)}`);
  };
  const checkContent = (name: string, content: Record<string, MediaType> = {}): void => {
    for (const [type, media] of Object.entries(content)) {
      for (const example of examplesOf(media)) check(`${name} ${type}`, media.schema, example);
    }
  };
  for (const [route, { parameters = [], requestBody, responses }] of operationsOf(document)) {
    for (const { name, schema, example, required } of parameters) {
      if (!required && example !== undefined) faults.push(`${route} ${name} is optional, and API pages would send its example`);
      check(`${route} ${name}`, schema, required ? example : schema.examples?.[0]);
    }
    checkContent(`${route} request`, requestBody?.content);
    for (const [status, response] of Object.entries(responses)) {
      checkContent(`${route} ${status}`, resolvedResponse(document, response).content);
    }
  }
  return faults;
}
