// No imports: a starter handles signals before it loads anything else.
const termination = new AbortController();

/** Whether a SIGTERM or SIGINT has arrived. */
export function isTerminating(): boolean {
  return termination.signal.aborted;
}

let close = async () => {};
let isHandled = false;

/**
 * Runs `closing` at the first SIGTERM or SIGINT and ends the process; a second signal ends it at once, with
 * a word about that on standard error. A later call replaces `closing`. The returned signal fires before `closing` is
 * called.
 *
 * Process 1 of a container ignores a signal without a handler: call it before anything else is loaded, without
 * `closing` as long as there is nothing to close.
 */
export function onTermination(closing: () => Promise<void> = async () => {}): AbortSignal {
  close = closing;
  if (isHandled) return termination.signal;
  isHandled = true;
  process.on("SIGTERM", end);
  process.on("SIGINT", end);
  return termination.signal;
}

function end(signal: NodeJS.Signals): void {
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
}
