// No imports: a starter handles signals before it loads anything else.
const termination = new AbortController();

/** Whether a SIGTERM or SIGINT has arrived. */
export function isTerminating(): boolean {
  return termination.signal.aborted;
}

/**
 * Runs `close` at the first SIGTERM or SIGINT and ends the process; a second signal ends it at once, with a word about
 * that on standard error. Call it before the start-up, because process 1 of a container ignores a signal without a
 * handler: `close` then closes what is there. The returned signal fires before `close` is called.
 */
export function onTermination(close: () => Promise<void>): AbortSignal {
  const end = (signal: NodeJS.Signals) => {
    if (isTerminating()) {
      process.stderr.write(`A second signal (${signal}) ends this process at once; its work under way is cut.\n`);
      process.exit(signal === "SIGINT" ? 130 : 143);
    }
    termination.abort(new Error(`${signal} ended the start.`));
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
  return termination.signal;
}
