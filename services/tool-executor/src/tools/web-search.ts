import { ErrorReason, fail } from "@turnwright/platform/errors";
import { z } from "zod";
import { defineTool } from "../tool-definition/define-tool.ts";

const braveResponse = z.object({
  web: z
    .object({
      results: z.array(z.object({ title: z.string().default(""), url: z.string(), description: z.string().default("") })),
    })
    .optional(),
});

/** Searches with the Brave Search API. Returns `{results: [{title, url, description}], count}`. */
export function createWebSearch(options: { apiKey: string | undefined; baseUrl: string }) {
  return defineTool({
    name: "web_search",
    description: "Search the web. Answers with titles, addresses and descriptions of the best results.",
    parameters: z.object({
      query: z.string().trim().min(1).max(400).describe("What to search for"),
      num_results: z.int().min(1).max(10).default(5).describe("How many results"),
    }),
    effect: "read",
    timeoutMs: 10_000,
    version: "1",
    async execute({ query, num_results }, { signal }) {
      if (options.apiKey === undefined) {
        throw fail(ErrorReason.TOOL_FAILED, "Web search is not set up: WEB_SEARCH_API_KEY needs a key of the Brave Search API.");
      }
      const url = new URL("/res/v1/web/search", options.baseUrl);
      url.searchParams.set("q", query);
      url.searchParams.set("count", String(num_results));
      const { request } = await import("undici");
      const response = await request(url, {
        headers: { accept: "application/json", "x-subscription-token": options.apiKey },
        signal,
      }).catch((error: unknown) => {
        if (signal.aborted) throw error;
        throw fail(ErrorReason.TOOL_FAILED, "The search API cannot be reached.", { cause: error });
      });
      if (response.statusCode !== 200) {
        await response.body.dump();
        const cause = new RefusedSearch(response.statusCode);
        throw fail(ErrorReason.TOOL_FAILED, `The search API answered with status ${cause.status}.`, { cause });
      }
      const parsed = braveResponse.safeParse(parseJson(await response.body.text()));
      if (!parsed.success) throw fail(ErrorReason.TOOL_FAILED, "The search API did not return search results.");
      const results = (parsed.data.web?.results ?? []).slice(0, num_results);
      return { results, count: results.length };
    },
  });
}

/** The search API refused a search. */
class RefusedSearch extends Error {
  override readonly name = "RefusedSearch";
  readonly status: number;

  constructor(status: number) {
    super("The search API refused a search.");
    this.status = status;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
