import { useKeys } from "../keyboard/keys.ts";
import { place, query, setQuery, useHistoryState } from "../router/router.ts";
import { Button } from "./button.tsx";

/** The page of a list: its cursor is in the address, the way back to the first page in the history entry. */
export interface Pages {
  /** For the request; empty: the first page. */
  readonly cursor: string;
  readonly newer: (() => void) | undefined;
  readonly older: (next: string) => void;
}

/** The cursor of the address, and the pages around it. */
export function usePages(): Pages {
  const cursor = query.value.get("cursor") ?? "";
  const [stack] = useHistoryState<readonly string[]>("cursors", []);
  const go = (next: string, cursors: readonly string[]) => {
    setQuery({ cursor: next }, { push: true });
    history.replaceState({ ...history.state, cursors }, "");
    place.value = { ...place.value, entry: place.value.entry + 1 };
  };
  return {
    cursor,
    newer: cursor === "" ? undefined : () => go(stack.at(-1) ?? "", stack.slice(0, -1)),
    older: (next) => go(next, [...stack, cursor]),
  };
}

/** The buttons of a list's pages; `[` and `]` press them. */
export function Pager({
  pages,
  nextCursor,
  note,
}: {
  readonly pages: Pages;
  readonly nextCursor: string | undefined;
  readonly note?: string;
}) {
  const older = nextCursor === undefined || nextCursor === "" ? undefined : () => pages.older(nextCursor);
  useKeys({
    "[": () => (pages.newer === undefined ? false : pages.newer()),
    "]": () => (older === undefined ? false : older()),
  });
  if (pages.newer === undefined && older === undefined) return null;
  return (
    <div class="row pager">
      <Button disabled={pages.newer === undefined} shortcut="[" onClick={() => pages.newer?.()}>
        Newer
      </Button>
      <Button disabled={older === undefined} shortcut="]" onClick={() => older?.()}>
        Older
      </Button>
      {note !== undefined && <span class="meta">{note}</span>}
    </div>
  );
}
