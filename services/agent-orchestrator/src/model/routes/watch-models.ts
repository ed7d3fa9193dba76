import type { Logger } from "@turnwright/platform/logger";
import { type ModelsSource, type ReadModels, readModels, stampOf } from "./models-file.ts";

const intervalMs = 1_000;

/**
 * Looks every second whether a models file has changed, and passes each new version to `take`, once two looks in a row
 * found it the same: it may have been read while it was written. A file that is missing for a while, as while it is
 * replaced, counts as unchanged. Returns the function that ends the watch.
 */
export function watchModels(options: {
  readonly source: ModelsSource;
  readonly take: (read: ReadModels) => void;
  readonly logger: Logger;
  /** Milliseconds between looks; 1,000 unless given. */
  readonly everyMs?: number;
}): () => void {
  const { source, take, logger, everyMs = intervalMs } = options;
  let taken = source.stamp;
  let last = taken;
  let isFailing = false;
  const look = (): void => {
    try {
      const stamp = stampOf(source.path);
      const isSettled = stamp === last;
      last = stamp;
      if (stamp === "" || stamp === taken || !isSettled) return;
      taken = stamp;
      take(readModels(source.path, source.env));
      isFailing = false;
    } catch (error) {
      if (!isFailing) logger.error({ err: error }, "the models file was not reloaded; the earlier version stays in use");
      isFailing = true;
    }
  };
  const timer = setInterval(look, everyMs).unref();
  return () => clearInterval(timer);
}
