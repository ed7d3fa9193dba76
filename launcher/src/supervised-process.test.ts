import { spawn } from "node:child_process";
import { once } from "node:events";
import { freePort } from "@turnwright/platform/free-port";
import { createLogger } from "@turnwright/platform/logger";
import { afterEach, expect, test, vi } from "vitest";
import { type Supervision, startSupervised } from "./supervised-process.ts";

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

/** Options for a program that listens, or ends at once from its `failing`th start to the one before `until`. */
async function options(
  failing = { from: 0, until: 0 },
): Promise<Supervision & { lines: Record<string, unknown>[]; starts(): number }> {
  const port = await freePort();
  const lines: Record<string, unknown>[] = [];
  const logger = createLogger({
    service: "test",
    level: "info",
    destination: { write: (line: string) => void lines.push(JSON.parse(line)) },
  });
  let starts = 0;
  const launch = () => {
    starts += 1;
    const fails = starts >= failing.from && starts < failing.until;
    const code = fails ? "process.exit(3)" : `require("node:net").createServer().listen(${port}, "127.0.0.1")`;
    return spawn(process.execPath, ["--eval", code], { stdio: "ignore" });
  };
  return { name: "part", port, launch, logger, pauses: { firstMs: 20, longestMs: 200 }, lines, starts: () => starts };
}

test("a process that is killed is started again with growing pauses until it holds, and the log tells each end", async () => {
  const given = await options({ from: 2, until: 5 });
  const supervised = await startSupervised(given);
  cleanups.push(() => supervised.stop());
  const { pid } = supervised.child;
  supervised.child.kill("SIGKILL");
  await vi.waitUntil(() => given.lines.some(({ msg }) => msg === "the process runs again"), { timeout: 15_000 });
  expect(supervised.child.pid).not.toBe(pid);
  const ends = given.lines.filter(({ level }) => level === "error");
  expect(ends.map(({ process, code, signal, pause_ms }) => [process, code, signal, pause_ms])).toEqual([
    ["part", null, "SIGKILL", 20],
    ["part", 3, null, 40],
    ["part", 3, null, 80],
    ["part", 3, null, 160],
  ]);
});

test("a stopped process stays ended, also while it waits for its next start", async () => {
  const given = await options({ from: 2, until: 1_000 });
  const supervised = await startSupervised({ ...given, pauses: { firstMs: 60_000, longestMs: 60_000 } });
  supervised.child.kill("SIGKILL");
  await vi.waitUntil(() => given.lines.length > 0);
  await supervised.stop();
  expect(given.starts()).toBe(1);
  expect(given.lines).toHaveLength(1);
});

test("a process that ends once all are to end is neither reported nor started again", async () => {
  const given = await options();
  const closing = new AbortController();
  const supervised = await startSupervised({ ...given, closing: closing.signal });
  closing.abort();
  const exit = once(supervised.child, "exit");
  supervised.child.kill("SIGTERM");
  await exit;
  await supervised.stop();
  expect(given.starts()).toBe(1);
  expect(given.lines).toEqual([]);
});

test("a process with a channel is asked to end by a message, so that it gets no second signal", async () => {
  const given = await options();
  const code = `require("node:net").createServer().listen(${given.port}, "127.0.0.1");
    process.on("SIGTERM", () => {});
    process.on("message", (word) => process.exit(word === "stop" ? 7 : 1));`;
  const launch = () => spawn(process.execPath, ["--eval", code], { stdio: ["ignore", "ignore", "ignore", "ipc"] });
  const supervised = await startSupervised({ ...given, launch });
  await supervised.stop();
  expect(supervised.child.exitCode).toBe(7);
});

test("a process that ends before it is ready fails the start, as does a program that is missing", async () => {
  await expect(startSupervised(await options({ from: 1, until: 2 }))).rejects.toThrow("part ended before it was ready");
  const missing = { ...(await options()), launch: () => spawn("/no-such-folder/no-such-program") };
  await expect(startSupervised(missing)).rejects.toMatchObject({ code: "ENOENT" });
});

test("a start that is interrupted ends its process", async () => {
  const given = await options();
  const child = spawn("sleep", ["600"]);
  const start = startSupervised({ ...given, launch: () => child, signal: AbortSignal.timeout(50) });
  await expect(start).rejects.toThrow("abort");
  expect(child.signalCode).toBe("SIGTERM");
});
