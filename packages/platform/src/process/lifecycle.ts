import { ConfigError } from "../config/env.ts";
import type { Logger } from "../logger.ts";

/** Reports a failed start: faults of the environment as a list, any other error as it is. */
export function reportStartFailure(error: unknown): void {
  if (!(error instanceof ConfigError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}

/**
 * Drains work in flight: `drain` gets a signal that fires when the time limit is over, and is awaited even after that.
 */
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
 * Logs unhandled promise rejections. Node.js would end the process, and with it everybody's work, for one fault in one
 * request. An uncaught exception still ends the process, because it may leave the state inconsistent.
 */
export function logUnhandledRejections(logger: Logger): void {
  process.on("unhandledRejection", (error) => logger.error({ err: error }, "unhandled promise rejection"));
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
