import { ConfigError } from "../config/env.ts";

/** Words for the file system's refusals of a data directory, by code. */
const refusals: Readonly<Record<string, string>> = {
  EACCES: "cannot be used by the user of this process",
  EPERM: "cannot be used by the user of this process",
  EROFS: "is on a read-only file system",
  ENOTDIR: "is below a file, or is one, instead of a directory",
  EEXIST: "is a file instead of a directory",
  EISDIR: "is a directory instead of a file",
  ENOENT: "cannot be created",
  ELOOP: "is a circle of symbolic links",
  ENAMETOOLONG: "has too long a name",
  ENOSPC: "is on a full disk",
  EDQUOT: "is beyond the quota of the user of this process",
  EIO: "is on a disk that does not work",
};

/**
 * One sentence for an error that the file system has thrown on a data directory, with the path and the variable to
 * change; any other error as it is.
 */
export function dataDirectoryFault(error: unknown, dataDir: string): unknown {
  if (!(error instanceof Error)) return error;
  const { code = "", path = dataDir, syscall } = error as NodeJS.ErrnoException;
  const isFull = /No space left on device/.test(error.message);
  const refusal = isFull ? refusals.ENOSPC : syscall === undefined || syscall.startsWith("spawn") ? undefined : refusals[code];
  if (refusal === undefined) return error;
  const user = /EACCES|EPERM/.test(code) ? ` (${process.getuid?.() ?? "unknown"})` : "";
  return new ConfigError([`TURNWRIGHT_DATA_DIR: ${path} ${refusal}${user}; change that, or set another directory`]);
}
