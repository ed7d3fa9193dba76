import { rm } from "node:fs/promises";
import type { Logger } from "@turnwright/platform/logger";

/** The folder of the built console, while a start is under way. */
export interface ConsoleFolder {
  /** Undefined: the gateway looks for the last build itself, as in an image. */
  readonly path: string | undefined;
  /** Removes a folder that was made for this process alone. */
  readonly close: () => Promise<void>;
}

const none: ConsoleFolder = { path: undefined, close: async () => {} };

/**
 * Builds the console where its sources are and no build of them exists. Never fails: without esbuild the system starts
 * all the same, and `/console/` says how to build.
 */
export async function openConsoleFolder(given: string | undefined, logger: Logger): Promise<ConsoleFolder> {
  if (given !== undefined && given !== "") return { ...none, path: given };
  try {
    const { buildConsole } = await import("../../console/build.ts");
    const { folder, isNew, isTemporary } = await buildConsole();
    if (isNew) logger.info({ folder }, "console built");
    const close = async () => {
      if (isTemporary) await rm(folder, { recursive: true, force: true });
    };
    return { path: folder, close };
  } catch (error) {
    // An image has the build and not its sources.
    if ((error as NodeJS.ErrnoException).code !== "ERR_MODULE_NOT_FOUND")
      logger.warn({ err: error }, "the console was not built");
    return none;
  }
}
