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
 * The request's headers, with an `Idempotency-Key` where it may change something and has none: the same for every
 * attempt at one call. A hash, since a call's id may hold what no header does, and nobody outside needs to read a
 * run's.
 */
function withKey(method: string, given: Readonly<Record<string, string>>, callKey: string): Record<string, string> {
  if (!changing.has(method) || Object.keys(given).some((name) => name.toLowerCase() === "idempotency-key")) return given;
  return { ...given, "idempotency-key": hash("sha256", callKey, "hex") };
}

/**
 * Sends one request that a person approved; answers `{status, headers, body, truncated}`. Redirects are answers, not
 * followed. Declared `once` in spite of its key: what is at the other end may not heed it.
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
