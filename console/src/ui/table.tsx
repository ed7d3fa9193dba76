import type { ComponentChild } from "preact";
import { useRef } from "preact/hooks";
import { useKeys } from "../keyboard/keys.ts";
import { navigate } from "../router/router.ts";

/** A column of a table. */
export interface Column<Row> {
  readonly name: string;
  readonly label: string;
  readonly cell: (row: Row) => ComponentChild;
  /** Right-aligned. */
  readonly isNumber?: boolean;
  /** Makes the heading a button. */
  readonly sort?: { readonly direction: "ascending" | "descending" | "none"; readonly onSort: () => void };
}

/** Properties of a table. */
export interface TableProps<Row> {
  /** Told to readers. */
  readonly caption: string;
  readonly columns: readonly Column<Row>[];
  readonly rows: readonly Row[];
  readonly rowKey: (row: Row) => string;
  /** The address that Enter opens; the first cell links there as well. */
  readonly rowHref?: (row: Row) => string;
  readonly selected?: ReadonlySet<string>;
  readonly onSelect?: (selected: ReadonlySet<string>) => void;
  /** The rows stay, pale, while a filter loads. */
  readonly isLoading?: boolean;
}

/** A table with a keyboard: j and k move, Enter opens, x selects, Shift+x selects up to here. */
export function Table<Row>(props: TableProps<Row>) {
  const { caption, columns, rows, rowKey, rowHref, selected, onSelect, isLoading } = props;
  const body = useRef<HTMLTableSectionElement>(null);
  const anchor = useRef<string>(undefined);
  const lines = () => [...(body.current?.querySelectorAll<HTMLElement>("tr") ?? [])];
  const at = () => lines().findIndex((line) => line.contains(document.activeElement));
  const focusOf = (line: HTMLElement | undefined) =>
    (line?.querySelector<HTMLElement>("th a, a, button, input") ?? line)?.focus();
  const move = (step: number) => () => {
    const all = lines();
    if (all.length === 0) return false;
    const from = at();
    focusOf(all[from === -1 ? 0 : Math.min(all.length - 1, Math.max(0, from + step))]);
    return true;
  };
  const toggle = (key: string) => {
    const next = new Set(selected);
    if (!next.delete(key)) next.add(key);
    anchor.current = key;
    onSelect?.(next);
  };
  useKeys({
    j: move(1),
    k: move(-1),
    x: () => {
      const row = rows[at()];
      if (row === undefined || onSelect === undefined) return false;
      toggle(rowKey(row));
      return true;
    },
    "Shift+x": () => {
      const to = at();
      const from = rows.findIndex((row) => rowKey(row) === anchor.current);
      if (to === -1 || onSelect === undefined) return false;
      const [first, last] = [Math.min(to, Math.max(0, from)), Math.max(to, from)];
      onSelect(new Set([...(selected ?? []), ...rows.slice(first, last + 1).map(rowKey)]));
      return true;
    },
    Enter: () => {
      const row = rows[at()];
      if (row === undefined || rowHref === undefined || document.activeElement instanceof HTMLAnchorElement) return false;
      if (document.activeElement instanceof HTMLButtonElement) return false;
      navigate(rowHref(row));
      return true;
    },
  });
  return (
    <div class={`table-box${isLoading ? " is-loading" : ""}`}>
      <table class="table table-cards">
        <caption class="visually-hidden">{caption}</caption>
        <thead>
          <tr>
            {onSelect !== undefined && (
              <th scope="col">
                <span class="visually-hidden">Selected</span>
              </th>
            )}
            {columns.map(({ name, label, isNumber, sort }) => (
              <th key={name} scope="col" class={isNumber ? "number" : undefined} aria-sort={sort?.direction}>
                {sort === undefined ? (
                  label
                ) : (
                  <button type="button" class="sort" onClick={sort.onSort}>
                    {label} {sort.direction === "ascending" ? "↑" : sort.direction === "descending" ? "↓" : ""}
                  </button>
                )}
              </th>
            ))}
          </tr>
        </thead>
        <tbody ref={body}>
          {rows.map((row) => {
            const key = rowKey(row);
            const isSelected = selected?.has(key) ?? false;
            return (
              <tr key={key} aria-selected={onSelect === undefined ? undefined : isSelected}>
                {onSelect !== undefined && (
                  <td>
                    <input type="checkbox" aria-label="Select" checked={isSelected} onChange={() => toggle(key)} />
                  </td>
                )}
                {columns.map(({ name, label, cell, isNumber }, i) => {
                  const classes = isNumber ? "number" : undefined;
                  const content = i === 0 && rowHref !== undefined ? <a href={rowHref(row)}>{cell(row)}</a> : cell(row);
                  return i === 0 ? (
                    <th key={name} scope="row" class={classes}>
                      {content}
                    </th>
                  ) : (
                    <td key={name} class={classes} data-label={label}>
                      {content}
                    </td>
                  );
                })}
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}
