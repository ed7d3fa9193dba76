import { summaryOf } from "./comments.ts";
import { envelope } from "./envelope.ts";
import { errorResponse } from "./error-responses.ts";
import type { JsonSchema, Operation, PathItem } from "./openapi-types.ts";

function probe(operationId: string, description: string, status: string, more: Record<string, JsonSchema> = {}): Operation {
  return {
    operationId,
    tags: ["health"],
    summary: summaryOf(description),
    description,
    security: [],
    responses: {
      "200": {
        description,
        content: {
          "application/json": {
            schema: envelope({ type: "object", properties: { status: { const: status }, ...more }, required: ["status"] }),
            example: { success: true, data: { status } },
          },
        },
      },
      "503": errorResponse("Unavailable"),
    },
  };
}

/** The gateway's own endpoints, the only ones without an RPC. */
export const healthPaths: Readonly<Record<string, PathItem>> = {
  "/health": { get: probe("Health", "The gateway is alive.", "ok") },
  "/ready": {
    get: probe("Ready", "The gateway and the services behind it accept requests.", "ready", {
      degraded: {
        type: "array",
        description: "Services with replicas that do not serve; absent if there are none.",
        items: {
          type: "object",
          properties: { part: { type: "string" }, serving: { type: "integer" }, replicas: { type: "integer" } },
          required: ["part", "serving", "replicas"],
        },
      },
    }),
  },
};
