import { ErrorReason, fail } from "../errors.ts";

/** A running readiness watch. */
export interface ReadinessWatch {
  stop(): void;
}

/**
 * Checks a part once a second, never twice at the same time, and passes each result to `tell`: the fault, or undefined
 * when the part is ready. A check that takes longer than `patienceMs` (3 s) counts as UNAVAILABLE until it completes.
 */
export function watchReadiness(options: {
  ready: () => Promise<void>;
  tell: (fault: unknown) => void;
  intervalMs?: number;
  patienceMs?: number;
}): ReadinessWatch {
  const { ready, tell, intervalMs = 1_000, patienceMs = 3_000 } = options;
  let isOver = false;
  let timer: NodeJS.Timeout | undefined;
  const say = (fault: unknown) => {
    try {
      if (!isOver) tell(fault);
    } catch {
      // The next result is told all the same; a throw in the timer would end the process.
    }
  };
  const look = async (): Promise<void> => {
    const late = setTimeout(() => say(fail(ErrorReason.UNAVAILABLE, "no answer in time")), patienceMs).unref();
    try {
      await ready();
      say(undefined);
    } catch (error) {
      say(error ?? fail(ErrorReason.UNAVAILABLE, "not ready"));
    } finally {
      clearTimeout(late);
    }
    if (!isOver) timer = setTimeout(look, intervalMs).unref();
  };
  void look();
  return {
    stop() {
      isOver = true;
      clearTimeout(timer);
    },
  };
}
