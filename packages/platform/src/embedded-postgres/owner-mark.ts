import { randomUUID } from "node:crypto";
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import type { Place } from "./place.ts";
import { bootId, pidNamespace, startOf } from "./process-start.ts";

/** The mark of the process that uses a place, in its `owner.json`. Earlier versions wrote `pid` and `started` only. */
export interface Owner {
  /** Random; process ids repeat between containers, where each starter is process 1. */
  readonly id?: string;
  readonly pid: number;
  readonly started: string;
  readonly host?: string;
  readonly boot?: string;
  readonly namespace?: string;
  /** Changes while the owner lives. Milliseconds of its own clock, compared with nothing but itself. */
  readonly beat?: number;
}

/** A new mark for this process. */
export function newOwner(): Owner & { readonly id: string } {
  return {
    id: randomUUID(),
    pid: process.pid,
    started: startOf(process.pid) ?? "unknown",
    host: hostname(),
    boot: bootId(),
    namespace: pidNamespace(),
    beat: Date.now(),
  };
}

function pathOf(place: Place): string {
  return join(place.root, "owner.json");
}

/** The mark of a place; undefined when there is none, or none that can be read. */
export function readOwner(place: Place): Owner | undefined {
  try {
    return JSON.parse(readFileSync(pathOf(place), "utf8")) as Owner;
  } catch {
    return undefined;
  }
}

/** Puts a mark into its place at once, so that no process reads half of one. */
export function writeOwner(place: Place, owner: Owner & { readonly id: string }): void {
  const fresh = `${pathOf(place)}.${owner.id}`;
  writeFileSync(fresh, JSON.stringify(owner), { mode: 0o600, flag: "wx" });
  renameSync(fresh, pathOf(place));
}

/** Removes the mark unless another process has replaced it. */
export function removeOwner(place: Place, { id }: Owner): void {
  if (readOwner(place)?.id === id) rmSync(pathOf(place), { force: true });
}

/** Whether the mark's process is alive and its id counts in this process's namespace. */
export function livesHere(owner: Owner): boolean {
  return (owner.namespace ?? pidNamespace()) === pidNamespace() && startOf(owner.pid) === owner.started;
}

/**
 * Renews the mark on disk. Resolves to false when another process has replaced it. The write goes to the file whose
 * content was checked, so it never changes another one's mark.
 */
export async function beat(place: Place, owner: Owner): Promise<boolean> {
  let file: FileHandle | undefined;
  try {
    file = await open(pathOf(place), "r+");
    if ((JSON.parse(await file.readFile("utf8")) as Owner).id !== owner.id) return false;
    // The same length as before, because the number of digits does not change.
    await file.write(JSON.stringify({ ...owner, beat: Date.now() }), 0);
    await file.sync();
    return true;
  } catch {
    // A directory that is gone or does not answer has no other owner.
    return true;
  } finally {
    await file?.close().catch(() => {});
  }
}
