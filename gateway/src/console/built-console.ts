import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Logger } from "@turnwright/platform/logger";
import { z } from "zod";

/** A file of the console. */
export interface ConsoleFile {
  /** Below `/console/`. */
  readonly path: string;
  readonly type: string;
  readonly bytes: Buffer;
}

/** The console as it was built: its page and the files with a hash in their names. */
export interface LoadedConsole {
  readonly page: Buffer;
  readonly files: readonly ConsoleFile[];
}

const types: Readonly<Record<string, string>> = {
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  svg: "image/svg+xml",
  png: "image/png",
  json: "application/json; charset=utf-8",
};

const manifestShape = z.object({ files: z.array(z.string().regex(/^assets\/[\w.-]+$/)) });

/** The folder of the builds of this checkout, or of the image. */
const dist = join(import.meta.dirname, "../../../console/dist");

function folderOf(given: string | undefined): string {
  if (given !== undefined && given !== "") return given;
  const name = readFileSync(join(dist, "current"), "utf8").trim();
  return join(dist, /^[0-9a-f]{1,64}$/.test(name) ? name : "");
}

/** Loads a built console, of the checkout unless a folder is given; undefined when there is none. */
export function loadConsole(given: string | undefined, logger: Logger): LoadedConsole | undefined {
  try {
    const folder = folderOf(given);
    const { files } = manifestShape.parse(JSON.parse(readFileSync(join(folder, "manifest.json"), "utf8")));
    return {
      page: readFileSync(join(folder, "index.html")),
      files: files.map((path) => ({
        path,
        type: types[path.slice(path.lastIndexOf(".") + 1)] ?? "application/octet-stream",
        bytes: readFileSync(join(folder, path)),
      })),
    };
  } catch (error) {
    logger.warn({ err: error }, "the console is not built");
    return undefined;
  }
}
