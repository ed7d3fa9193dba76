import { ConfigError } from "../config/env.ts";
import type { Logger } from "../logger.ts";
import { isTerminating } from "./termination.ts";

/**
 * Reports a failed start and ends the process: faults of the environment as a list, any other error as it is. A start
 * that a signal ended has not failed.
 */
export function reportStartFailure(error: unknown): void {
  if (isTerminating()) return;
  if (!(error instanceof ConfigError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
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
