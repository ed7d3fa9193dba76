import { type Exact, isSame, writeExact } from "../json/exact.ts";

/** A place in a value that differs from what it was. */
export interface Change {
  /** A JSON pointer: `/body/amount`. */
  readonly path: string;
  readonly before: Exact | undefined;
  readonly after: Exact | undefined;
}

/** The pointer of a field below a place. */
export const pointer = (path: string, name: string | number) =>
  `${path}/${String(name).replaceAll("~", "~0").replaceAll("/", "~1")}`;

/** The smallest places in which two values differ. */
export function changesBetween(before: Exact | undefined, after: Exact | undefined, path = ""): Change[] {
  if (isSame(before, after)) return [];
  if (before?.kind === "object" && after?.kind === "object") {
    const names = new Set([...before.fields, ...after.fields].map(({ name }) => name));
    const valueIn = (one: typeof before, name: string) => one.fields.find((field) => field.name === name)?.value;
    return [...names].flatMap((name) => changesBetween(valueIn(before, name), valueIn(after, name), pointer(path, name)));
  }
  if (before?.kind === "array" && after?.kind === "array" && before.items.length === after.items.length) {
    return before.items.flatMap((item, i) => changesBetween(item, after.items[i], pointer(path, i)));
  }
  return [{ path, before, after }];
}

/** A value in few characters, for `was 100`. */
export function shortText(value: Exact | undefined): string {
  if (value === undefined) return "absent";
  const text = writeExact(value);
  return text.length > 80 ? `${text.slice(0, 79)}…` : text;
}
