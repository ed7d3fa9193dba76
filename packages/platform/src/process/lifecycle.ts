import { ConfigError } from "../config/env.ts";
import type { Logger } from "../logger.ts";

/** Prints what a start failed on: faults of the environment as a list, anything else as it is. */
export function reportStartFailure(error: unknown): void {
  if (!(error instanceof ConfigError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}

/** Ends what is under way: `drain` gets the signal that fires when its time is over, and is waited for even then. */
export async function drainWithin(limitMs: number, drain: (limit: AbortSignal) => Promise<unknown>): Promise<void> {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), limitMs);
  try {
    await drain(limit.signal);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Logs promises that reject and that nobody waits for. Node.js would end the process, and with it the work of
 * everybody, for one fault of one request. What is thrown where nobody catches it still ends the process: nothing is
 * known of the state that it leaves.
 */
export function logUnhandledRejections(logger: Logger): void {
  process.on("unhandledRejection", (error) => logger.error({ err: error }, "a promise rejected that nobody waited for"));
}

/** Runs `close` at the first SIGTERM or SIGINT and ends the process. */
export function onTermination(close: () => Promise<void>): void {
  let closing = false;
  const end = (signal: NodeJS.Signals) => {
    if (closing) process.exit(signal === "SIGINT" ? 130 : 143);
    closing = true;
    close().then(
      () => process.exit(0),
      (error) => {
        process.stderr.write(`${error instanceof Error ? error.stack : error}\n`);
        process.exit(1);
      },
    );
  };
  process.on("SIGTERM", end);
  process.on("SIGINT", end);
}
