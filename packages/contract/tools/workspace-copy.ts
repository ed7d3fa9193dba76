import { cpSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { workspaceRoot } from "./buf.ts";

/** A copy of the contract's sources and products that a test may change. */
export interface WorkspaceCopy {
  readonly root: string;
  remove(): void;
}

const parts = ["proto", "third_party", "packages/contract", "docs/errors.md", "buf.yaml", "buf.gen.yaml", "package.json"];

/**
 * Copies the contract's part of the workspace into a temporary directory. Installed packages are linked, not copied.
 */
export function copyWorkspace(): WorkspaceCopy {
  const root = mkdtempSync(join(tmpdir(), "turnwright-contract-"));
  for (const part of parts) cpSync(join(workspaceRoot, part), join(root, part), { recursive: true });
  symlinkSync(join(workspaceRoot, "node_modules"), join(root, "node_modules"));
  return { root, remove: () => rmSync(root, { recursive: true, force: true }) };
}
