/** Characters that nobody sees or that turn the order of others: controls, zero widths, bidi marks. */
const hidden = /(?![\t\n]|\r\n)[\p{Cc}\p{Cf}\u2028\u2029]/gu;

function escaped(character: string): string {
  const code = (character.codePointAt(0) ?? 0).toString(16);
  return code.length > 4 ? `\\u{${code}}` : `\\u${code.padStart(4, "0")}`;
}

/** A text with each invisible character written as its escape, so that nothing hides in it. */
export function visible(text: string): string {
  return text.replace(hidden, escaped);
}
