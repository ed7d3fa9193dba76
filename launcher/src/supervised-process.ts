import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { growingPauses, type Pauses, retrying } from "@turnwright/platform/async/retrying";
import type { Logger } from "@turnwright/platform/logger";

/** Pauses before a process that ended is started again. */
const standardPauses: Pauses = { firstMs: 500, longestMs: 30_000 };
/** A process that served this long, in milliseconds, begins again with the shortest pause. */
const steadyMs = 60_000;

/** A process that is started again whenever it ends by itself. */
export interface SupervisedProcess {
  /** The process as it runs now, or as it ran last. */
  readonly child: ChildProcess;
  /** Ends it for good with SIGTERM; resolves when it has ended. */
  stop(): Promise<void>;
}

/** Options of a supervised process. */
export interface Supervision {
  /** Name in errors and the log. */
  readonly name: string;
  /** Loopback port on which it accepts connections once it is ready. */
  readonly port: number;
  readonly launch: () => ChildProcess;
  readonly logger: Logger;
  /** Ends a start that is under way. */
  readonly signal?: AbortSignal;
  /** Fired when all processes are to end: one that ends from here on is not started again. */
  readonly closing?: AbortSignal;
  readonly pauses?: Pauses;
}

/**
 * Starts a process and keeps it running. Resolves when it accepts connections; rejects when it ends before that,
 * with the error of a program that cannot be run. A process that ends later is started again after a pause that grows
 * while it does not hold, and the log says so.
 */
export async function startSupervised(supervision: Supervision): Promise<SupervisedProcess> {
  const { name, port, logger, signal: interrupted, pauses = standardPauses } = supervision;
  const stopping = new AbortController();
  let refusal: Error | undefined;
  const launch = () =>
    supervision.launch().on("error", (error) => {
      refusal = error;
    });
  let child = launch();
  const keep = async (): Promise<void> => {
    let lengths = growingPauses(pauses);
    for (;;) {
      const since = performance.now();
      await ended(child);
      if (stopping.signal.aborted || supervision.closing?.aborted) return;
      if (performance.now() - since > steadyMs) lengths = growingPauses(pauses);
      const pauseMs = lengths.next().value;
      const { exitCode: code, signalCode: signal } = child;
      logger.error({ process: name, code, signal, pause_ms: pauseMs }, "a process ended unexpectedly and is started again");
      await delay(pauseMs, undefined, { signal: stopping.signal }).catch(() => {});
      if (stopping.signal.aborted) return;
      child = launch();
      accepting(name, port, child, stopping.signal).then(
        () => logger.info({ process: name, pid: child.pid }, "the process runs again"),
        () => {},
      );
    }
  };
  const stop = async () => {
    stopping.abort();
    // A child with a channel may have got a signal of its own already; a second one would cut its work.
    if (!hasEnded(child) && !(child.connected && child.send("stop"))) child.kill("SIGTERM");
    await ended(child);
  };
  try {
    await accepting(name, port, child, interrupted);
  } catch (error) {
    await stop();
    // Node.js tells why a program cannot be run after the call that starts it.
    if (child.pid === undefined && refusal === undefined) await once(child, "error");
    throw refusal ?? error;
  }
  void keep();
  return {
    get child() {
      return child;
    },
    stop,
  };
}

function hasEnded(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
}

async function ended(child: ChildProcess): Promise<void> {
  if (!hasEnded(child)) await once(child, "exit");
}

/** Resolves when a process accepts connections on a loopback port; rejects when it ends first. */
async function accepting(name: string, port: number, child: ChildProcess, signal?: AbortSignal): Promise<void> {
  const gone = new Error(`${name} ended before it was ready.`);
  const tryConnect = async () => {
    if (hasEnded(child)) throw gone;
    const socket = connect(port, "127.0.0.1");
    try {
      await once(socket, "connect");
    } finally {
      socket.destroy();
    }
  };
  await retrying(tryConnect, {
    mayPass: (error) => error !== gone,
    patienceMs: Number.POSITIVE_INFINITY,
    firstMs: 25,
    longestMs: 25,
    signal,
  });
}
