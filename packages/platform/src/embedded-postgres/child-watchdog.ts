import { type ChildProcess, spawn } from "node:child_process";

/**
 * Signals a child when this process ends in whatever way, also by SIGKILL, when no code of ours runs any more: a shell waits on a pipe
 * that only the end of this process closes. Neither the shell nor the child keeps this process from ending by itself.
 */
export function startChildWatchdog(
  child: ChildProcess,
  options: { signal: "INT" | "TERM"; user?: { uid: number; gid: number } },
): void {
  if (child.pid === undefined) throw new Error("the process did not start");
  const watchdog = spawn("/bin/sh", ["-c", `read -r _ || kill -${options.signal} "$1"`, "sh", String(child.pid)], {
    ...options.user,
    cwd: "/",
    env: {},
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  watchdog.stdin.on("error", () => {});
  // A line tells the watchdog that there is nothing left to end: the id may soon be another process's.
  child.once("exit", () => watchdog.stdin.end("\n"));
  setHold(watchdog, false);
  setHold(child, false);
}

/** Whether a child and its pipes keep this process from ending by itself. */
export function setHold(child: ChildProcess, hold: boolean): void {
  for (const handle of [child, child.stdin, child.stdout, child.stderr]) {
    const held = handle as { ref?(): void; unref?(): void } | null;
    if (hold) held?.ref?.();
    else held?.unref?.();
  }
}
