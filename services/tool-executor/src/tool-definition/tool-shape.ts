import { z } from "zod";
import { isHost } from "./tool-hosts.ts";

/** Whether parameters are a zod object, of any copy of zod, or the JSON Schema of an object. */
function describesObject(parameters: unknown): boolean {
  if (typeof parameters !== "object" || parameters === null) return false;
  const schema = "_zod" in parameters ? (parameters as unknown as z.ZodObject)._zod.def : (parameters as { type?: unknown });
  return schema.type === "object";
}

const isFunction = (value: unknown) => typeof value === "function";

const shape = z.object({
  name: z.string().regex(/^[a-zA-Z0-9_-]{1,64}$/, "must be 1 to 64 letters, digits, _ or -"),
  description: z.string().min(1),
  parameters: z.custom(describesObject, "must be a zod object or the JSON Schema of an object"),
  effect: z.enum(["read", "idempotent", "once"]),
  requiresApproval: z.boolean().optional(),
  timeoutMs: z.int().min(1).max(2_147_483_647),
  version: z.string().min(1),
  hosts: z.array(z.string().refine(isHost, "must be a host or host:port, in lower case")).max(100).optional(),
  execute: z.custom(isFunction, "must be a function"),
  probe: z.custom(isFunction, "must be a function").optional(),
});

/** The shape of a file's default export that makes it a tool. */
export const toolShape = shape.refine(({ effect, probe }) => probe === undefined || effect === "once", {
  path: ["probe"],
  error: "belongs to the effect once: other calls just run again",
});

/** The shape of a tool's description from its process. */
export const describedShape = shape.omit({ execute: true, probe: true }).extend({ hasProbe: z.boolean() });
