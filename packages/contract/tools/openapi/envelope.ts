import type { JsonSchema } from "./openapi-types.ts";

/** The schema of `{"success":true,"data":…}` around a response. */
export function envelope(data: JsonSchema): JsonSchema {
  return { type: "object", properties: { success: { const: true }, data }, required: ["success", "data"] };
}
