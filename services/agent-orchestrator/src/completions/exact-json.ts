/** A JSON value that can be written again without a change of its numbers. */
export interface ExactJson {
  readonly value: unknown;
  /** The text of this value or of a shallow copy of it, in which members were replaced. */
  write(value: unknown): string;
}

const { rawJSON } = JSON as typeof JSON & { rawJSON(text: string): unknown };

/** Numbers that a double may not hold exactly. */
const longNumber = /\d{16}|\d[eE]/;

/**
 * Parses a JSON text. A number whose digits a double does not keep, such as a seed or a bound of 64 bits, is a double
 * in the value and has its own digits again when the value is written. Throws SyntaxError.
 */
export function readExactly(text: string): ExactJson {
  if (!longNumber.test(text)) return { value: JSON.parse(text), write: (value) => JSON.stringify(value) };
  const digits = new WeakMap<object, Map<string, string>>();

  function note(this: object, name: string, value: unknown, context?: { readonly source?: string }): unknown {
    if (typeof value !== "number" || context?.source === undefined || String(value) === context.source) return value;
    const known = digits.get(this) ?? new Map<string, string>();
    digits.set(this, known.set(name, context.source));
    return value;
  }
  const root: unknown = JSON.parse(text, note);
  return {
    value: root,
    write(top) {
      return JSON.stringify(top, function (this: object, name: string, value: unknown) {
        if (typeof value !== "number") return value;
        const source = digits.get(this === top ? (root as object) : this)?.get(name);
        return source === undefined ? value : rawJSON(source);
      });
    },
  };
}
