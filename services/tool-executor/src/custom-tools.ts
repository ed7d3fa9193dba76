import { readdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { z } from "zod";
import type { Tool } from "./define-tool.ts";
import { describesObject, type RegisteredTool, registerTool } from "./registered-tool.ts";

/** A file of the folder: its tool, or why it has none. */
export type LoadedTool =
  | { readonly file: string; readonly tool: RegisteredTool }
  | { readonly file: string; readonly fault: string };

const toolShape = z.object({
  name: z.string().regex(/^[a-zA-Z0-9_-]{1,64}$/, "must be 1 to 64 letters, digits, _ or -"),
  description: z.string().min(1),
  parameters: z.custom(describesObject, "must be a zod object or the JSON Schema of an object"),
  effect: z.enum(["read", "idempotent", "once"]),
  requiresApproval: z.boolean().optional(),
  timeoutMs: z.int().min(1).max(2_147_483_647),
  version: z.string().min(1),
  execute: z.custom((value) => typeof value === "function", "must be a function"),
});

/** Loads the default export of every .ts, .js and .mjs file of a folder, in the order of their names; tests are left out. */
export async function loadCustomTools(dir: string): Promise<LoadedTool[]> {
  const folder = resolve(dir);
  let files: string[];
  try {
    files = await readdir(folder);
  } catch (error) {
    return [{ file: folder, fault: `cannot be read: ${messageOf(error)}` }];
  }
  const sources = files.filter((file) => /\.(?:ts|js|mjs)$/.test(file) && !/\.(?:d|test)\.ts$/.test(file)).sort();
  return Promise.all(sources.map((file) => loadTool(join(folder, file))));
}

async function loadTool(file: string): Promise<LoadedTool> {
  try {
    const module: { default?: unknown } = await import(pathToFileURL(file).href);
    if (module.default === undefined) return { file, fault: "has no default export" };
    const shape = toolShape.safeParse(module.default);
    if (shape.success) return { file, tool: registerTool(module.default as Tool) };
    return { file, fault: shape.error.issues.map(({ path, message }) => `${path.join(".") || "tool"}: ${message}`).join("; ") };
  } catch (error) {
    return { file, fault: messageOf(error) };
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
