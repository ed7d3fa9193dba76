import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { openSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

/** A process of the mesh that can be killed and started again in its place. */
export interface Part {
  readonly name: string;
  readonly port: number;
  /** kill -9; resolves when it is gone. */
  kill(): Promise<void>;
  /** Sends it a signal. */
  signal(name: NodeJS.Signals): void;
  /** Holds it still, so that others take it for dead, and lets it go on after that time. */
  freeze(ms: number): Promise<void>;
  /** Starts it again and resolves when it accepts connections. */
  start(): Promise<void>;
  /** SIGTERM, and waits for the end. */
  stop(): Promise<void>;
}

async function accepting(port: number, child: ChildProcess): Promise<void> {
  while (child.exitCode === null && child.signalCode === null) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(port, "127.0.0.1");
      socket.once("connect", () => {
        socket.destroy();
        resolve(true);
      });
      socket.once("error", () => resolve(false));
    });
    if (open) return;
    await delay(20);
  }
}

const starter = join(import.meta.dirname, "../../launcher/src/mesh-process.ts");

/** Makes a part of the mesh, which runs the program `main`. Its log is a file. */
export function createPart(options: {
  name: string;
  main: string;
  port: number;
  portVariable: string;
  env: Readonly<Record<string, string>>;
  /** A module that is loaded before the program. */
  preload?: string;
  logFile: string;
}): Part {
  const { name, main, port, portVariable, env, preload, logFile } = options;
  let child: ChildProcess | undefined;
  const gone = async () => {
    if (child !== undefined && child.exitCode === null && child.signalCode === null) await once(child, "exit");
  };
  return {
    name,
    port,
    async start() {
      // What ended by itself, because a store was away while it started, is started again, as any supervisor does.
      for (;;) {
        const log = openSync(logFile, "a");
        child = fork(starter, [main], {
          env: { PATH: process.env.PATH ?? "", ...env, [portVariable]: String(port) },
          execArgv: preload === undefined ? [] : ["--import", preload],
          stdio: ["ignore", log, log, "ipc"],
        });
        await accepting(port, child);
        if (child.exitCode === null && child.signalCode === null) return;
        await delay(200);
      }
    },
    async kill() {
      child?.kill("SIGKILL");
      await gone();
    },
    signal(name) {
      child?.kill(name);
    },
    async freeze(ms) {
      const frozen = child;
      frozen?.kill("SIGSTOP");
      await delay(ms);
      frozen?.kill("SIGCONT");
    },
    async stop() {
      child?.kill("SIGCONT");
      child?.kill("SIGTERM");
      await Promise.race([gone(), delay(10_000)]);
      child?.kill("SIGKILL");
      await gone();
    },
  };
}
