import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { reportUntested } from "@turnwright/testing/untested";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { createLogger } from "../logger.ts";
import { type Claim, type ClaimOptions, claim } from "./claim.ts";
import { lockPrograms, tryLock } from "./directory-lock.ts";
import { beat, newOwner, type Owner, readOwner, writeOwner } from "./owner-mark.ts";
import type { Place } from "./place.ts";

const logger = createLogger({ service: "test", level: "silent" });
const cleanups: (() => unknown)[] = [];
let place: Place;

beforeEach(() => {
  const root = mkdtempSync(join(tmpdir(), "turnwright-claim-"));
  cleanups.push(() => rmSync(root, { recursive: true, force: true }));
  place = { root, data: join(root, "data"), user: undefined };
});

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function claimed(options: Partial<ClaimOptions> = {}): Promise<Claim> {
  const taken = await claim(place, { logger, onLost: () => {}, ...options });
  let isReleased = false;
  const release = () => {
    if (!isReleased) taken.release();
    isReleased = true;
  };
  cleanups.push(release);
  return { lock: taken.lock, release };
}

/** Options of unshare that give a program its own process ids; undefined where this user may not. */
function namespaceOptions(): readonly string[] | undefined {
  const own = ["--pid", "--fork", "--mount-proc", "--kill-child"];
  return [own, ["--user", "--map-root-user", ...own]].find(
    (options) => spawnSync("unshare", [...options, "true"], { stdio: "ignore" }).status === 0,
  );
}

/**
 * A process that claims the place, and lets a process of its own inherit the lock. Resolves to what it says: its id and
 * its child's, or the refusal.
 */
async function startClaimant(prefix: readonly string[] = []): Promise<{ child: ChildProcess; says: string }> {
  const module = JSON.stringify(new URL("./claim.ts", import.meta.url).href);
  const logging = JSON.stringify(new URL("../logger.ts", import.meta.url).href);
  const code = `
    const { claim } = await import(${module});
    const { createLogger } = await import(${logging});
    const { spawn } = await import("node:child_process");
    const logger = createLogger({ service: "claimant", level: "silent" });
    try {
      const { lock } = await claim(${JSON.stringify(place)}, { logger, onLost() {}, times: { beatMs: 100 } });
      const child = spawn("sleep", ["600"], { stdio: ["ignore", "ignore", "ignore", lock] });
      console.log(process.pid, child.pid);
    } catch (error) {
      console.log(error.message);
    }
    process.stdin.resume();`;
  const [program = process.execPath, ...args] = [...prefix, process.execPath, "--input-type=module", "--eval", code];
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] });
  cleanups.push(() => child.kill("SIGKILL"));
  const says: string[] = [];
  const lines = createInterface({ input: child.stdout }).on("line", (line) => says.push(line));
  await once(lines, "line");
  return { child, says: says.join("\n") };
}

describe("a claim on a data directory", () => {
  test("refuses an owner in another pid namespace that has the same process id", async () => {
    const options = namespaceOptions();
    if (options === undefined) return reportUntested("two containers on one data directory", "pid namespace");
    const first = await startClaimant(["unshare", ...options]);
    expect(first.says).toMatch(/^1 \d+$/);
    const second = await startClaimant(["unshare", ...options]);
    expect(second.says).toContain(`TURNWRIGHT_DATA_DIR: ${place.root} is in use by process 1 on `);
    await expect(claimed()).rejects.toThrow("(another container or machine)");
    // --kill-child ends the namespace with the program that made it.
    first.child.kill("SIGKILL");
    await expect(claimed()).resolves.toBeDefined();
  });

  test("refuses an owner whose mark has the id of this very process", async () => {
    const { child } = await startClaimant();
    const mark = { ...(readOwner(place) as Owner & { id: string }), pid: process.pid, namespace: "pid:[1]" };
    writeOwner(place, mark);
    await expect(claimed({ times: { shutdownMs: 200 } })).rejects.toThrow("is in use by process");
    expect(child.exitCode).toBeNull();
  });

  test("waits for the last process of a killed owner, and no longer than given", async () => {
    const { child, says } = await startClaimant();
    const [, inheritor] = says.split(" ").map(Number);
    child.kill("SIGKILL");
    await once(child, "exit");
    await expect(claimed({ times: { shutdownMs: 200 } })).rejects.toThrow("is in use by process");
    const patient = claimed();
    process.kill(inheritor ?? 0, "SIGKILL");
    await expect(patient).resolves.toBeDefined();
  });

  test("ends its wait at the signal", async () => {
    const { child, says } = await startClaimant();
    cleanups.push(() => process.kill(Number(says.split(" ")[1]), "SIGKILL"));
    child.kill("SIGKILL");
    await once(child, "exit");
    await expect(claimed({ signal: AbortSignal.timeout(100) })).rejects.toThrow("abort");
  });

  test("refuses another machine's owner who renews its mark, and replaces one who does not", async () => {
    const other = { ...newOwner(), boot: "another", host: "another-host", started: "another:1" };
    writeOwner(place, other);
    const renewal = setInterval(() => void beat(place, other), 100);
    await expect(claimed())
      .rejects.toThrow(`is in use by process ${other.pid} on another-host`)
      .finally(() => clearInterval(renewal));
    await claimed({ times: { staleMs: 100, beatMs: 20 } });
    expect(readOwner(place)?.host).not.toBe("another-host");
  });

  test("renews its mark, and tells its owner once another has replaced it", async () => {
    const onLost = vi.fn();
    const { release } = await claimed({ onLost, times: { beatMs: 20 } });
    const first = readOwner(place);
    await vi.waitUntil(() => readOwner(place)?.beat !== first?.beat);
    expect(readOwner(place)?.id).toBe(first?.id);
    const other = { ...newOwner(), host: "another-host" };
    writeOwner(place, other);
    await vi.waitUntil(() => onLost.mock.calls.length > 0);
    release();
    expect(readOwner(place)?.id).toBe(other.id);
    expect(onLost).toHaveBeenCalledOnce();
  });

  test("respects the mark of an earlier version, which took no lock", async () => {
    const { child } = await startClaimant();
    const { pid, started } = readOwner(place) as Owner;
    child.kill("SIGSTOP");
    rmSync(join(place.root, "lock"));
    writeFileSync(join(place.root, "owner.json"), JSON.stringify({ pid, started }));
    await expect(claimed()).rejects.toThrow(`is in use by process ${pid};`);
  });

  test("leaves nothing behind that holds up the next one", async () => {
    const { release } = await claimed();
    await expect(claimed()).rejects.toThrow(`is in use by process ${process.pid};`);
    release();
    expect(() => readFileSync(join(place.root, "owner.json"))).toThrow("ENOENT");
    await expect(claimed()).resolves.toBeDefined();
  });
});

describe.each(lockPrograms.map((program) => [program[0], program] as const))("a lock taken by %s", (name, program) => {
  test.runIf(spawnSync("which", [name]).status === 0)(
    `lasts until all copies of the descriptor are closed, by ${name}`,
    async () => {
      const path = join(place.root, "lock");
      const [first, second] = [openSync(path, "w+"), openSync(path, "r+")];
      cleanups.push(() => closeSync(second));
      expect(tryLock(first, [program])).toBe("locked");
      expect(tryLock(second, [program])).toBe("held");
      const heir = spawn("sleep", ["600"], { stdio: ["ignore", "ignore", "ignore", first] });
      closeSync(first);
      expect(tryLock(second, [program])).toBe("held");
      heir.kill("SIGKILL");
      await once(heir, "exit");
      expect(tryLock(second, [program])).toBe("locked");
      expect(tryLock(second, [])).toBe("unavailable");
    },
  );
});
