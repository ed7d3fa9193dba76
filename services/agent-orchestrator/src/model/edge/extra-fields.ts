import { isFields } from "./answer-text.ts";

/** The most characters of extra fields, as JSON text; beyond them none is kept. */
export const maxExtraFields = 262_144;

/** Fields whose texts come in pieces. */
const pieceFields = new Set(["reasoning", "reasoning_content", "summary", "text", "thinking"]);

/** Whether a value says nothing. */
function isNothing(value: unknown): boolean {
  if (value === null || value === undefined || value === "") return true;
  return typeof value === "object" && Object.keys(value).length === 0;
}

/** Joins two items of a list that have the same index: texts are pieces, other fields are told again. */
function joinItems(before: Record<string, unknown>, item: Record<string, unknown>): Record<string, unknown> {
  const joined = { ...before };
  for (const [key, value] of Object.entries(item)) {
    const old = joined[key];
    if (isNothing(value)) continue;
    joined[key] = pieceFields.has(key) && typeof old === "string" && typeof value === "string" ? old + value : value;
  }
  return joined;
}

function joinLists(before: readonly unknown[], items: readonly unknown[]): unknown[] {
  const list = [...before];
  for (const item of items) {
    const isIndexed = isFields(item) && Number.isInteger(item.index);
    const at = isIndexed ? list.findLastIndex((other) => isFields(other) && other.index === item.index) : -1;
    const same = list[at];
    if (isFields(item) && isFields(same) && same.type === item.type) list[at] = joinItems(same, item);
    else list.push(item);
  }
  return list;
}

function join(key: string, before: unknown, value: unknown): unknown {
  if (Array.isArray(before) && Array.isArray(value)) return joinLists(before, value);
  if (typeof before !== "string" || typeof value !== "string") return value;
  return pieceFields.has(key) || before !== value ? before + value : value;
}

/**
 * Fields of a message or of a call that only its endpoint understands and wants back, such as reasoning and signatures.
 * Pieces are joined: texts are concatenated, lists appended (items with an index by their index), of other values the
 * last one counts. Values that say nothing are left out.
 */
export class ExtraFields {
  readonly #known: ReadonlySet<string>;
  readonly #fields = new Map<string, unknown>();
  #size = 0;

  /** `known`: the fields that are not extra. */
  constructor(known: ReadonlySet<string>) {
    this.#known = known;
  }

  /** Whether the fields were too large and are left out. */
  get isTooLarge(): boolean {
    return this.#size > maxExtraFields;
  }

  /** The fields so far; undefined when there are none. */
  get value(): Record<string, unknown> | undefined {
    return this.#fields.size === 0 ? undefined : Object.fromEntries(this.#fields);
  }

  add(fields: Readonly<Record<string, unknown>>): void {
    if (this.isTooLarge) return;
    for (const key in fields) {
      const value = fields[key];
      if (this.#known.has(key) || isNothing(value)) continue;
      this.#size += key.length + (typeof value === "string" ? value.length : JSON.stringify(value).length);
      if (this.isTooLarge) {
        this.#fields.clear();
        return;
      }
      this.#fields.set(key, join(key, this.#fields.get(key), value));
    }
  }
}
