/** How long a hidden tab keeps its streams: a browser has six connections to a server. */
const hiddenMs = 30_000;

/**
 * Runs `work` while the tab is visible, and for 30 s after it is hidden; again when it is shown, unless it has ended
 * by itself. Returns how to stop.
 */
export function whileVisible(work: (signal: AbortSignal) => Promise<void>): () => void {
  let running: AbortController | undefined;
  let isDone = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const start = () => {
    if (running !== undefined || isDone) return;
    const attempt = new AbortController();
    running = attempt;
    void work(attempt.signal).finally(() => {
      if (running === attempt) running = undefined;
      if (!attempt.signal.aborted) isDone = true;
    });
  };
  const stop = () => {
    running?.abort();
    running = undefined;
  };
  const onChange = () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(stop, hiddenMs);
    else start();
  };
  document.addEventListener("visibilitychange", onChange);
  if (!document.hidden) start();
  return () => {
    document.removeEventListener("visibilitychange", onChange);
    clearTimeout(timer);
    isDone = true;
    stop();
  };
}
