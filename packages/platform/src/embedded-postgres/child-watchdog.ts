import { type ChildProcess, spawn } from "node:child_process";

/**
 * Starts a watchdog that signals a child when this process ends in any way, including SIGKILL, when no code of this
 * process can run. The watchdog is a shell that waits on a pipe, which closes only when this process ends. Neither the
 * shell nor the child keeps this process alive.
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
  // A line tells the watchdog that the child has ended: its id may soon belong to another process.
  child.once("exit", () => watchdog.stdin.end("\n"));
  setHold(watchdog, false);
  setHold(child, false);
}

/** Sets whether a child and its pipes keep this process alive. */
export function setHold(child: ChildProcess, hold: boolean): void {
  for (const handle of [child, child.stdin, child.stdout, child.stderr]) {
    const held = handle as { ref?(): void; unref?(): void } | null;
    if (hold) held?.ref?.();
    else held?.unref?.();
  }
}
