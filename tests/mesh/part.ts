import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { openSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { testedEnvironment } from "../tested-environment.ts";
import type { ProcessMemory } from "./part-process.ts";

/** End of a process. */
export interface Ending {
  readonly ms: number;
  /** Exit code, or the signal that killed it. */
  readonly code: number | NodeJS.Signals | null;
}

/** A process of a mesh that can be stopped or killed, and started again at the same port. */
export interface Part {
  /** `auth`, `gateway-1`, … */
  readonly name: string;
  readonly port: number;
  /**
   * Starts it, from now on with these variables changed. Resolves when it accepts connections; rejects if it ends
   * before.
   */
  start(changed?: Readonly<Record<string, string>>): Promise<void>;
  /**
   * Starts it like a supervisor: while a store is away, a process that ends or hangs is started again, for up to two
   * minutes.
   */
  revive(): Promise<void>;
  /** Sends SIGTERM. Resolves when the process has ended. */
  terminate(): Promise<Ending>;
  /** Sends SIGKILL. Resolves when the process has ended. */
  kill(): Promise<void>;
  signal(name: NodeJS.Signals): void;
  /** Suspends it for this time, so that others take it for dead. */
  freeze(ms: number): Promise<void>;
  /** Its memory after garbage collection. */
  memory(): Promise<ProcessMemory>;
  /** Processor time that it has used, in milliseconds; in steps of 10 ms. */
  processorMs(): number;
}

function isOver(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/** Whether a loopback port accepts connections. */
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
/** A start that takes longer counts as hanging. */
const startMs = 20_000;

/** Creates a process that runs the program `main`, without starting it. */
export function createPart(options: {
  name: string;
  main: string;
  port: number;
  env: Readonly<Record<string, string>>;
  /** Flags of Node.js, as the starter of the mesh sets them. None unless given. */
  flags?: readonly string[];
  /** File that its log is appended to. */
  log: string;
}): Part {
  const { name, main, port } = options;
  let { env } = options;
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
      execArgv: [...process.execArgv, ...(options.flags ?? [])],
      stdio: ["ignore", log, log, "ipc"],
    });
    child = started;
    let serves = false;
    // Its port accepts connections for a moment before that, when the start checks it.
    started.once("message", () => {
      serves = true;
    });
    const until = Date.now() + limitMs;
    while (!serves) {
      if (isOver(started)) throw new Error(`${name} ended before it was ready; see ${options.log}.`);
      if (Date.now() > until) await end("SIGKILL");
      await delay(20);
    }
  };
  return {
    name,
    port,
    start(changed) {
      env = { ...env, ...changed };
      return start();
    },
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
    processorMs() {
      const fields = readFileSync(`/proc/${child?.pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
      // User and system time, in ticks of 10 ms.
      return (Number(fields[11]) + Number(fields[12])) * 10;
    },
  };
}
