import { readdirSync } from "node:fs";
import { httpUrl, integer, list, port } from "@turnwright/platform/config/env";
import { grpcEnv } from "@turnwright/platform/config/mesh-env";
import { postgresEnv } from "@turnwright/platform/config/postgres-env";
import { z } from "zod";

/** The variables of the tool executor. */
export const toolConfig = z.object({
  ...grpcEnv,
  ...postgresEnv,
  GRPC_PORT: port(9104),
  /** Folder with custom tools, one file each. */
  TOOLS_DIR: z
    .string()
    .refine(isFolder, { error: ({ input }) => `${input} is no folder that can be read` })
    .optional(),
  /** Memory of one custom tool's process, in megabytes. */
  TOOLS_MEMORY_LIMIT: integer(256, { min: 64, max: 65_536 }),
  /**
   * The kernel's wall around the processes of custom tools and run_javascript. `auto` uses whatever the system has,
   * `require` refuses to start without a whole wall, `off` uses Node's permissions alone.
   */
  TOOLS_SANDBOX: z.enum(["auto", "require", "off"]).default("auto"),
  /** Tools that run at once in this process. */
  TOOLS_MAX_CONCURRENT: integer(10, { min: 1, max: 10_000 }),
  /** Private hosts, `host` or `host:port`, that fetch_url, http_request and custom tools may reach. */
  TOOLS_ALLOWED_HOSTS: list(),
  /** Key of the Brave Search API; without one, web_search fails and says why. */
  WEB_SEARCH_API_KEY: z.string().optional(),
  WEB_SEARCH_BASE_URL: httpUrl().default("https://api.search.brave.com"),
});

function isFolder(path: string): boolean {
  try {
    readdirSync(path);
    return true;
  } catch {
    return false;
  }
}

/** The parsed environment. */
export type ToolConfig = z.output<typeof toolConfig>;
