import { spawnSync } from "node:child_process";
import { join } from "node:path";

/** Root of the repository, the folder of `buf.yaml`. */
export const workspaceRoot = join(import.meta.dirname, "../../..");

/**
 * Runs buf at the root. Returns whether it succeeded and its output. Needs no network. Throws if buf does not start.
 */
export function buf(args: readonly string[], root = workspaceRoot): { ok: boolean; output: string } {
  const { status, error, stdout, stderr } = spawnSync(join(root, "node_modules/.bin/buf"), args, { cwd: root, encoding: "utf8" });
  if (error !== undefined) throw new Error("buf did not start; run `npm ci`", { cause: error });
  return { ok: status === 0, output: `${stdout}${stderr}` };
}
