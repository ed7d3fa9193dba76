import { parse } from "regexparam";

/** A pattern such as `runs/:run` and what stands behind it. */
export interface Pattern<T> {
  readonly pattern: string;
  readonly value: T;
}

/** The first pattern that a path fits, with the path's fields. */
export function createMatcher<T>(patterns: readonly Pattern<T>[]) {
  const compiled = patterns.map(({ pattern, value }) => ({ value, ...parse(pattern) }));
  return (path: string): { readonly value: T; readonly params: Readonly<Record<string, string>> } | undefined => {
    for (const { value, keys, pattern } of compiled) {
      const match = pattern.exec(`/${path}`);
      if (match === null) continue;
      const params: Record<string, string> = {};
      for (const [i, key] of keys.entries()) params[key] = decoded(match[i + 1] ?? "");
      return { value, params };
    }
    return undefined;
  };
}

/** A field as it was before it was put into the path; a faulty one stays as it is. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
