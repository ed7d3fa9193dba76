import { hash } from "node:crypto";
import type { Outbound } from "@turnwright/platform/outbound/outbound";
import { z } from "zod";
import { defineTool } from "../tool-definition/define-tool.ts";
import { connectionHeader, headerName, headerValue } from "../tool-definition/header-fields.ts";
import { decodeText, isText } from "./text-body.ts";

const maxBytes = 65_536;
const shownHeaders = [
  "content-type",
  "content-length",
  "date",
  "etag",
  "last-modified",
  "location",
  "retry-after",
  "x-request-id",
];

const headers = z
  .record(
    z
      .string()
      .regex(headerName, "is not a header name")
      .refine((name) => !connectionHeader.test(name), { error: "is set by the connection" }),
    z.string().regex(headerValue, "must be printable"),
  )
  .optional()
  .describe("Headers by name");

const changing: ReadonlySet<string> = new Set(["POST", "PUT", "PATCH", "DELETE"]);

/**
 * The request's headers. A request that may change something gets an `Idempotency-Key`, unless it has one: the same for
 * every attempt at one call. It is a hash, as a call's id may hold characters that no header may, and the receiver need
 * not see the run's id.
 */
function withKey(method: string, given: Readonly<Record<string, string>>, callKey: string): Record<string, string> {
  if (!changing.has(method) || Object.keys(given).some((name) => name.toLowerCase() === "idempotency-key")) return given;
  return { ...given, "idempotency-key": hash("sha256", callKey, "hex") };
}

/**
 * Sends one request that a person approved. Returns `{status, headers, body, truncated}`; redirects are returned, not
 * followed. Its effect is `once` in spite of the idempotency key, which the receiver may ignore.
 */
export function createHttpRequest(outbound: Outbound) {
  return defineTool({
    name: "http_request",
    description: "Send an HTTP request to a public address. A person must approve each request before it is sent.",
    parameters: z.object({
      method: z.enum(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
      url: z.string().max(8_192).describe("An http or https address"),
      headers,
      body: z.string().optional().describe("The body as text; set a content-type header to match"),
    }),
    effect: "once",
    requiresApproval: true,
    timeoutMs: 30_000,
    version: "2",
    async execute({ method, url, headers = {}, body }, { signal, callKey }) {
      const keyed = withKey(method, headers, callKey);
      const response = await outbound.send({ method, url, headers: keyed, body, signal, maxBytes });
      const shown = shownHeaders.flatMap((name) => {
        const value = response.headers[name];
        return value === undefined ? [] : [[name, value] as const];
      });
      return {
        status: response.status,
        headers: Object.fromEntries(shown),
        body: isText(response.headers) ? decodeText(response.body, response.headers["content-type"] ?? "") : "",
        truncated: response.truncated,
      };
    },
  });
}
