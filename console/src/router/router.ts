import { computed, signal } from "@preact/signals";
import { useCallback, useMemo, useState } from "preact/hooks";

/** Everything of the console is below this path. */
export const base = "/console/";

interface Place {
  /** Below `/console/`, without slashes at its ends. */
  readonly path: string;
  readonly search: string;
  /** Of the history entry: what is kept for it. */
  readonly entry: number;
}

let entries = 0;
/** The number of the history entry, to know on which side another one is. */
let at = 0;
let isReturning = false;

function here(): Place {
  const { pathname, search } = location;
  const path = pathname.startsWith(base) ? pathname.slice(base.length) : "";
  return { path: path.replace(/\/+$/, ""), search, entry: entries };
}

/** The place of the page. */
export const place = signal<Place>(here());
/** The query of the place. */
export const query = computed(() => new URLSearchParams(place.value.search));

type Guard = () => boolean;
const guards = new Set<Guard>();

/**
 * Asks before the page is left; returns how to stop asking. The guard asks the person and says whether the page may be
 * left. Set it while there are changes only: the browser asks as well when the tab is closed.
 */
export function guardLeaving(guard: Guard): () => void {
  guards.add(guard);
  return () => guards.delete(guard);
}

/** Whether all guards let the page go. */
const mayLeave = () => [...guards].every((guard) => guard());

/** Keeps the position when the person has stopped scrolling. */
let keeping: ReturnType<typeof setTimeout> | undefined;

function keepScroll(): void {
  history.replaceState({ ...history.state, scroll: scrollY }, "");
}

/** The address of a path below `/console/`, with the query's values that are not empty. */
export function hrefOf(path: string, values: Readonly<Record<string, string | undefined>> = {}): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) if (value !== undefined && value !== "") search.set(name, value);
  const text = search.toString();
  return `${base}${path}${text === "" ? "" : `?${text}`}`;
}

/** Goes to an address of the console. `replace` keeps the history entry: for keystrokes in filters. */
export function navigate(href: string, { replace = false }: { replace?: boolean } = {}): void {
  const target = new URL(href, location.href);
  if (target.pathname !== location.pathname && !mayLeave()) return;
  if (replace) history.replaceState(history.state, "", target);
  else {
    keepScroll();
    clearTimeout(keeping);
    at += 1;
    history.pushState({ at }, "", target);
    entries += 1;
  }
  const isSamePage = place.value.path === here().path;
  place.value = here();
  if (!replace && !isSamePage) scrollTo(0, 0);
}

/** Changes values of the query; undefined or empty removes one. Replaces the history entry unless told otherwise. */
export function setQuery(values: Readonly<Record<string, string | undefined>>, { push = false }: { push?: boolean } = {}): void {
  const search = new URLSearchParams(place.value.search);
  for (const [name, value] of Object.entries(values)) {
    if (value === undefined || value === "") search.delete(name);
    else search.set(name, value);
  }
  const text = search.toString();
  navigate(`${location.pathname}${text === "" ? "" : `?${text}`}`, { replace: !push });
}

/** A value that belongs to the history entry: it is there again after back, forward and reload. */
export function useHistoryState<T>(name: string, initial: T): [T, (value: T) => void] {
  const { entry } = place.value;
  const [, setRound] = useState(0);
  const value = useMemo(() => {
    const known = (history.state as Readonly<Record<string, unknown>> | null)?.[name];
    return known === undefined ? initial : (known as T);
  }, [name, entry, history.state]);
  const keep = useCallback(
    (next: T) => {
      history.replaceState({ ...history.state, [name]: next }, "");
      setRound((round) => round + 1);
    },
    [name],
  );
  return [value, keep];
}

/** Ends the restoring of a scroll position. */
let restoring = new AbortController();
restoring.abort();
const restoredWithinMs = 3_000;
/** Texts above that come later move the page; for so long the position is held. */
const heldMs = 700;

/**
 * Restores the scroll position of the history entry as soon as its data is drawn: tries until the page is long enough,
 * for three seconds or until the person scrolls.
 */
export function restoreScroll(): void {
  restoring.abort();
  const wanted = (history.state as { scroll?: number } | null)?.scroll ?? 0;
  if (wanted === 0) return;
  const end = new AbortController();
  const { signal: ended } = end;
  restoring = end;
  for (const type of ["wheel", "touchstart", "pointerdown", "keydown"]) {
    addEventListener(type, () => end.abort(), { signal: ended, passive: true });
  }
  let until = performance.now() + restoredWithinMs;
  let isReached = false;
  const step = () => {
    if (ended.aborted) return;
    if (Math.abs(scrollY - wanted) > 1) scrollTo(0, wanted);
    if (!isReached && Math.abs(scrollY - wanted) < 2) {
      isReached = true;
      until = performance.now() + heldMs;
    }
    if (performance.now() > until) end.abort();
    else requestAnimationFrame(step);
  };
  step();
}

/** Follows links of the console without loading a page, and back and forward. */
export function startRouter(): void {
  history.scrollRestoration = "manual";
  at = (history.state as { at?: number } | null)?.at ?? 0;
  history.replaceState({ ...history.state, at }, "");
  addEventListener("popstate", () => {
    const to = (history.state as { at?: number } | null)?.at ?? 0;
    if (isReturning) {
      isReturning = false;
      return;
    }
    if (here().path !== place.value.path && !mayLeave()) {
      isReturning = true;
      history.go(at - to);
      return;
    }
    at = to;
    entries += 1;
    // From here on the page changes its length: nothing is kept until the position of this entry is restored.
    clearTimeout(keeping);
    restoring = new AbortController();
    place.value = here();
  });
  addEventListener("beforeunload", (event) => {
    if (guards.size > 0) event.preventDefault();
  });
  addEventListener("pagehide", keepScroll);
  // Before a step back or forward nobody asks: the position is kept while the person reads.
  const keepSoon = () => {
    clearTimeout(keeping);
    keeping = setTimeout(() => {
      if (restoring.signal.aborted) keepScroll();
    }, 150);
  };
  addEventListener("scroll", keepSoon, { passive: true });
  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = (event.target as Element | null)?.closest?.("a[href]");
    if (!(link instanceof HTMLAnchorElement) || link.target !== "" || link.hasAttribute("download")) return;
    if (link.origin !== location.origin || !link.pathname.startsWith(base) || link.hash !== "") return;
    event.preventDefault();
    navigate(link.href);
  });
}
