/**
 * Text that PostgreSQL can store: without NUL and without lone surrogates. Models and tools may send both, and a step
 * must not be lost because of them.
 */
export function storable(text: string): string {
  return text.toWellFormed().replaceAll("\0", "\ufffd");
}
