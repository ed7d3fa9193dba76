import { type FieldChanges, fieldText, hasField, withFields } from "./body-fields.ts";
import { toldErrorIn } from "./told-error.ts";

/** How long a lesson holds, in milliseconds: an endpoint may be replaced by a newer release. */
const freshMs = 3_600_000;
const maxModels = 1_000;

const refused =
  /invalid (?:parameter|argument|field)|\bextra\b|extra_forbidden|not (?:permitted|allowed|supported|recognized)|un(?:supported|known|recognized|expected)|does(?: not|n't) support|only .{0,40}(?:allowed|supported)/i;

/** A peculiarity of endpoints: a field that they refuse, and the name to use instead, or null for none. */
interface Quirk {
  readonly field: string;
  readonly instead: string | null;
  /** Names under which a refusal blames it. */
  readonly blamed: RegExp;
  /** Words that the refusal must hold. */
  readonly words: RegExp;
}

/**
 * The known peculiarities. A field is left out only when nothing of the answer depends on it; one is renamed only when
 * the other name means the same. All else that an endpoint refuses is the client's to change.
 */
const quirks: readonly Quirk[] = [
  { field: "stream_options", blamed: /^stream_options(?:\.include_usage)?$/, instead: null, words: refused },
  {
    field: "max_tokens",
    blamed: /^max_tokens$/,
    instead: "max_completion_tokens",
    words: /(?:un|not )supported.{0,200}max_completion_tokens|max_completion_tokens\W{0,3} instead/i,
  },
  { field: "max_completion_tokens", blamed: /^max_completion_tokens$/, instead: "max_tokens", words: refused },
];

const knownNames = /\b(?:stream_options(?:\.\w+)?|max_completion_tokens|max_tokens)\b/;

/** Whether a refusal is about a field: names it as its parameter, or as the first of the known ones. */
function blames(status: number, answer: string, quirk: Quirk): boolean {
  if (status !== 400 && status !== 422) return false;
  const { words, param, code, type } = toldErrorIn(answer);
  if (!quirk.words.test(`${words} ${code} ${type}`)) return false;
  return quirk.blamed.test(param === "" ? (knownNames.exec(words.slice(0, 1_000))?.[0] ?? "") : param);
}

interface Lesson {
  readonly changes: FieldChanges;
  readonly until: number;
}

/** Learns which fields an endpoint refuses, for each of its models, and keeps to it. */
export class Quirks {
  readonly #lessons = new Map<string, Lesson>();
  readonly #now: () => number;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** The body as this endpoint accepts it; unchanged as long as nothing was learned. */
  applied(body: Uint8Array): Uint8Array {
    if (this.#lessons.size === 0) return body;
    const model = fieldText(body, "model");
    const lesson = this.#lessons.get(model);
    if (lesson === undefined) return body;
    if (lesson.until > this.#now()) return withFields(body, lesson.changes);
    this.#lessons.delete(model);
    return body;
  }

  /**
   * Reads a refusal of a body as it was sent. Returns the changes with which the call may succeed, those of its earlier
   * refusals included; undefined when the refusal is of another kind.
   */
  changesFor(body: Uint8Array, status: number, answer: string, earlier: FieldChanges = {}): FieldChanges | undefined {
    const quirk = quirks.find((known) => blames(status, answer, known) && hasField(body, known.field));
    if (quirk === undefined) return undefined;
    // An endpoint that refuses either name would be asked for ever.
    if (quirk.instead !== null && earlier[quirk.instead] === quirk.field) return undefined;
    return { ...earlier, [quirk.field]: quirk.instead };
  }

  /** Remembers changes with which a call has succeeded: until then, the refusal may have been the client's fault. */
  keep(body: Uint8Array, changes: FieldChanges): void {
    const model = fieldText(body, "model");
    const known = Object.entries(this.#lessons.get(model)?.changes ?? {});
    // A lesson to the contrary is out of date.
    const valid = known.filter(([field, instead]) => instead === null || changes[instead] !== field);
    if (this.#lessons.size >= maxModels) this.#lessons.clear();
    this.#lessons.set(model, { changes: { ...Object.fromEntries(valid), ...changes }, until: this.#now() + freshMs });
  }
}
