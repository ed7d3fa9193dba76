import openapi from "@turnwright/contract/openapi.json" with { type: "json" };
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import formats from "ajv-formats";

const ajv = formats.default(new Ajv2020({ strict: false, allErrors: true }));
ajv.addFormat("int32", true).addFormat("int64", true).addFormat("double", true).addFormat("float", true);
ajv.addSchema({ ...openapi, $id: "openapi" });

/** By schema: many operations share one, and compiling it takes milliseconds. */
const validators = new Map<string, ValidateFunction>();

/** Lists the faults that keep a value from matching a schema of the OpenAPI document; empty when there are none. */
export function schemaFaults(schema: object, value: unknown): string {
  const rooted = JSON.stringify(schema).replaceAll('"#/components', '"openapi#/components');
  const validate = validators.get(rooted) ?? ajv.compile(JSON.parse(rooted) as object);
  validators.set(rooted, validate);
  return validate(value) ? "" : ajv.errorsText(validate.errors);
}
