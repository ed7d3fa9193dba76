import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { Outbound } from "@turnwright/platform/outbound/outbound";
import { z } from "zod";
import { defineTool } from "../tool-definition/define-tool.ts";
import { decodeText, isText } from "./text-body.ts";

const maxBytes = 1_048_576;

/** Reads a public page. Returns `{url, status, content_type, content, truncated}`. */
export function createFetchUrl(outbound: Outbound) {
  return defineTool({
    name: "fetch_url",
    description: "Fetch a public web page or text file by GET and return its text, at most 1 MiB of it.",
    parameters: z.object({ url: z.string().max(8_192).describe("An http or https address") }),
    effect: "read",
    timeoutMs: 10_000,
    version: "1",
    async execute({ url }, { signal }) {
      const response = await outbound.send({ url, signal, maxBytes, maxRedirects: 3 });
      const contentType = response.headers["content-type"] ?? "";
      if (!isText(response.headers)) {
        throw fail(ErrorReason.TOOL_FAILED, `The address serves ${contentType || "encoded data"}, which is not text.`);
      }
      return {
        url: response.url,
        status: response.status,
        content_type: contentType,
        content: decodeText(response.body, contentType),
        truncated: response.truncated,
      };
    },
  });
}
