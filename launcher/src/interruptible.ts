/**
 * Runs a start-up. When it fails, or when the signal fires first, what it has opened is closed with `close`, and the
 * promise rejects with the failure or the signal's reason. A start-up that hangs does not hold up its end.
 */
export async function interruptible<T>(
  signal: AbortSignal | undefined,
  close: () => Promise<void>,
  start: () => Promise<T>,
): Promise<T> {
  try {
    signal?.throwIfAborted();
    const interrupted = Promise.withResolvers<never>();
    signal?.addEventListener("abort", () => interrupted.reject(signal.reason), { once: true });
    return await Promise.race([start(), interrupted.promise]);
  } catch (error) {
    await close();
    throw error;
  }
}
