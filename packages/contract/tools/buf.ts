import { spawnSync } from "node:child_process";
import { join } from "node:path";

/** The repository's root, where `buf.yaml` lies. */
export const workspaceRoot = join(import.meta.dirname, "../../..");

/** Runs buf at the root and gives back whether it succeeded, with all that it printed. Works without a network. */
export function buf(args: readonly string[], root = workspaceRoot): { ok: boolean; output: string } {
  const { status, error, stdout, stderr } = spawnSync(join(root, "node_modules/.bin/buf"), args, { cwd: root, encoding: "utf8" });
  if (error !== undefined) throw new Error("buf did not start; run `npm ci`", { cause: error });
  return { ok: status === 0, output: `${stdout}${stderr}` };
}
