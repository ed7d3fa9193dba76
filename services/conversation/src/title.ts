const maxLength = 100;

/** A conversation's title: the beginning of its first message on one line, at most 100 characters (code points). */
export function titleOf(message: string): string {
  // A message may be a megabyte; only its beginning can matter.
  const line = message
    .trimStart()
    .slice(0, maxLength * 20)
    .replaceAll(/\s+/g, " ");
  return [...line].slice(0, maxLength).join("").trimEnd();
}
