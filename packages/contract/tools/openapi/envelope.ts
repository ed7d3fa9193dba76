import type { JsonSchema } from "./openapi-types.ts";

/** Schema of the envelope `{"success":true,"data":…}` around a response. */
export function envelope(data: JsonSchema): JsonSchema {
  return { type: "object", properties: { success: { const: true }, data }, required: ["success", "data"] };
}
