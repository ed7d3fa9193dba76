import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ApiError, isAbort, unanswered } from "./api-error.ts";
import { recoveries, resets } from "./connection.ts";
import { sessionStatus } from "./session.ts";

/** Data of a view: what is known, whether more is on its way, why it failed. */
export interface Resource<T> {
  /** The last data, also while newer data loads. */
  readonly data: T | undefined;
  readonly error: ApiError | undefined;
  readonly isLoading: boolean;
  /** When the data came. */
  readonly loadedAt: Date | undefined;
  /** Loads again. */
  readonly reload: () => void;
  /** Replaces the data, after a write whose answer is the newer state. */
  readonly setData: (change: (data: T | undefined) => T | undefined) => void;
}

interface Loaded<T> {
  readonly key: string;
  readonly data?: T;
  readonly error?: ApiError;
  readonly isLoading: boolean;
  readonly loadedAt?: Date;
}

/**
 * Loads a view's data, and again when `key` changes. Leaving the page ends the request. With `keepOld`, the data of the
 * former key stays while that of the new one loads.
 */
export function useResource<T>(
  key: string,
  load: (signal: AbortSignal) => Promise<T>,
  { keepOld = true }: { keepOld?: boolean } = {},
): Resource<T> {
  const [state, setState] = useState<Loaded<T>>({ key, isLoading: true });
  const [round, setRound] = useState(0);
  const latest = useRef(load);
  latest.current = load;
  useEffect(() => {
    const leaving = new AbortController();
    setState((old) => ({ ...(keepOld || old.key === key ? old : {}), key, isLoading: true, error: undefined }));
    latest.current(leaving.signal).then(
      (data) => {
        if (!leaving.signal.aborted) setState({ key, data, isLoading: false, loadedAt: new Date() });
      },
      (error: unknown) => {
        if (leaving.signal.aborted || isAbort(error)) return;
        const told = error instanceof ApiError ? error : unanswered();
        setState((old) => ({ ...old, key, error: told, isLoading: false }));
      },
    );
    return () => leaving.abort();
  }, [key, round, keepOld]);
  // After the login over a page, the page gets what it was refused before.
  const isIn = sessionStatus.value === "in";
  const isRefused = state.error?.isAboutSession ?? false;
  useEffect(() => {
    if (isIn && isRefused) setRound((value) => value + 1);
  }, [isIn, isRefused]);
  const wasUnanswered = state.error?.status === 0;
  const due = `${resets.value} ${wasUnanswered ? recoveries.value : ""}`;
  const known = useRef(due);
  useEffect(() => {
    const [reset, recovered] = due.split(" ");
    const [knownReset, knownRecovered] = known.current.split(" ");
    known.current = due;
    if (reset !== knownReset || (recovered !== "" && knownRecovered !== "" && recovered !== knownRecovered)) {
      setRound((value) => value + 1);
    }
  }, [due]);
  const reload = useCallback(() => setRound((value) => value + 1), []);
  const setData = useCallback((change: (data: T | undefined) => T | undefined) => {
    setState((old) => ({ ...old, data: change(old.data) }));
  }, []);
  const { data, error, isLoading, loadedAt } = state;
  return { data: keepOld || state.key === key ? data : undefined, error, isLoading, loadedAt, reload, setData };
}
