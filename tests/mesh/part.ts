import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { openSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { testedEnvironment } from "../tested-environment.ts";
import type { ProcessMemory } from "./part-process.ts";

/** How a process ended after SIGTERM. */
export interface Ending {
  readonly ms: number;
  /** The exit code, or the signal that it died of. */
  readonly code: number | NodeJS.Signals | null;
}

/** A process of a mesh that can be ended, in order or not, and started again in its place. */
export interface Part {
  /** `auth`, `gateway-1`, … */
  readonly name: string;
  readonly port: number;
  /** Starts it; resolves when it accepts connections. Throws when it ends before. */
  start(): Promise<void>;
  /**
   * The same as a supervisor does it: what ends by itself or hangs, because a store is away while it starts, is started
   * again, for two minutes.
   */
  revive(): Promise<void>;
  /** SIGTERM; resolves when it is gone. */
  terminate(): Promise<Ending>;
  /** kill -9; resolves when it is gone. */
  kill(): Promise<void>;
  signal(name: NodeJS.Signals): void;
  /** Holds it still, so that others take it for dead, and lets it go on after that time. */
  freeze(ms: number): Promise<void>;
  /** What it holds, its garbage collected. */
  memory(): Promise<ProcessMemory>;
}

function isOver(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/** Whether something accepts connections on a port of loopback. */
export async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

const starter = join(import.meta.dirname, "part-process.ts");
const reviveMs = 120_000;
/** A start that takes longer hangs. */
const startMs = 20_000;

/** Makes a process that runs the program `main`; it is not started yet. */
export function createPart(options: {
  name: string;
  main: string;
  port: number;
  env: Readonly<Record<string, string>>;
  /** The file that its log is added to. */
  log: string;
}): Part {
  const { name, main, port, env } = options;
  let child: ChildProcess | undefined;
  const end = async (signal: NodeJS.Signals): Promise<Ending> => {
    const startedAt = performance.now();
    if (child !== undefined && !isOver(child)) {
      const gone = once(child, "exit");
      child.kill(signal);
      await gone;
    }
    return { ms: performance.now() - startedAt, code: child?.exitCode ?? child?.signalCode ?? null };
  };
  const start = async (limitMs = Number.POSITIVE_INFINITY) => {
    const log = openSync(options.log, "a");
    const started = fork(starter, [main], {
      env: { PATH: process.env.PATH ?? "", ...testedEnvironment(), ...env },
      stdio: ["ignore", log, log, "ipc"],
    });
    child = started;
    const until = Date.now() + limitMs;
    while (!(await accepts(port))) {
      if (isOver(started)) throw new Error(`${name} ended before it was ready; see ${options.log}.`);
      if (Date.now() > until) await end("SIGKILL");
      await delay(20);
    }
  };
  return {
    name,
    port,
    start: () => start(),
    async revive() {
      const until = Date.now() + reviveMs;
      for (;;) {
        try {
          return await start(startMs);
        } catch (error) {
          if (Date.now() > until) throw error;
          await delay(200);
        }
      }
    },
    terminate: () => end("SIGTERM"),
    async kill() {
      await end("SIGKILL");
    },
    signal(signal) {
      child?.kill(signal);
    },
    async freeze(ms) {
      const frozen = child;
      frozen?.kill("SIGSTOP");
      await delay(ms);
      frozen?.kill("SIGCONT");
    },
    async memory() {
      if (child === undefined) throw new Error(`${name} does not run.`);
      const answer = once(child, "message");
      child.send("memory");
      return ((await answer) as [ProcessMemory])[0];
    },
  };
}
