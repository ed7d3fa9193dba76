import type { ApiKey } from "../../api/types.ts";

/** A key in the list, with its place below the key that created it. */
export interface KeyRow {
  readonly key: ApiKey;
  readonly depth: number;
}

/**
 * The keys in the order of the list: each with the keys that it created below it. A key whose creator is not among them
 * stands at the top.
 */
export function keyTree(keys: readonly ApiKey[]): KeyRow[] {
  const known = new Set(keys.map(({ id }) => id));
  const children = Map.groupBy(keys, ({ parent_id }) => (known.has(parent_id) ? parent_id : ""));
  const rows: KeyRow[] = [];
  const add = (parent: string, depth: number) => {
    for (const key of children.get(parent) ?? []) {
      rows.push({ key, depth });
      if (rows.length < keys.length) add(key.id, depth + 1);
    }
  };
  add("", 0);
  return rows;
}

/** The keys that end with a key: those that it created, and those that they created. */
export function descendantsOf(keys: readonly ApiKey[], id: string): ApiKey[] {
  const found: ApiKey[] = [];
  let parents = new Set([id]);
  while (parents.size > 0) {
    const below = keys.filter((key) => parents.has(key.parent_id) && !found.includes(key));
    found.push(...below);
    parents = new Set(below.map((key) => key.id));
  }
  return found;
}

/** The state of a key. */
export type KeyState = "active" | "revoked" | "expired";

/** The state of a key at a time. */
export function stateOf({ is_revoked, expires_at }: ApiKey, now: Date): KeyState {
  if (is_revoked) return "revoked";
  return expires_at !== null && new Date(expires_at) <= now ? "expired" : "active";
}

/** The limits of a key in short: `60/min · 10,000/day · 5 at once`. */
export function limitsText(key: ApiKey): string {
  const number = new Intl.NumberFormat();
  const parts = [
    key.rate_limit_per_minute > 0 ? `${number.format(key.rate_limit_per_minute)}/min` : "",
    key.rate_limit_per_day > 0 ? `${number.format(key.rate_limit_per_day)}/day` : "",
    key.max_concurrent > 0 ? `${number.format(key.max_concurrent)} at once` : "",
  ].filter((part) => part !== "");
  return parts.length === 0 ? "no limits" : parts.join(" · ");
}

/** A right as a list of names: all of them, or how many. */
export function allowedText(names: readonly string[], noun: string): string {
  if (names.length === 0 || names.includes("*")) return `every ${noun}`;
  return names.length === 1 ? `1 ${noun}` : `${names.length} ${noun}s`;
}
