/** The most characters of an endpoint's text in an error. */
export const maxErrorWords = 1_000;
/** The part of a text that is read at all, in characters: what is cut off cannot slow a search. */
const maxReadChars = 16_384;

const markup = /<(?:!doctype|\?xml|html|head|body|title|center|div|span|script|style|h[1-6]|p|pre|br|hr|a)\b[^>]*>/i;
const hiddenElements = /<(script|style|svg)\b[^>]*>[\s\S]{0,16384}?(?:<\/\1\s*>|$)/gi;
const headings = [/<title\b[^>]*>([^<]{1,300})/i, /<h[1-3]\b[^>]*>([^<]{1,300})/i];
/** Control characters, and those that change the direction or the lines of a text. */
const controls = /[\p{Cc}\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+/gu;

/** Texts that look like credentials or name the account behind them, in the spellings of several endpoints. */
const credentials: readonly RegExp[] = [
  /\b(?:sk|pk|rk|gsk|xai|nvapi|pplx|csk|ghp|hf)[-_][\w*.-]{6,}/g,
  /\bAIza[\w-]{16,}/g,
  /\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]+)?/g,
  /\b(?:org|proj|acct)[-_][A-Za-z0-9]{8,}/g,
  /\b(?:Bearer|Basic)\s+[\w+/=.~-]{6,}/gi,
  /(?<=[?&](?:key|api[-_]?key|token|access_token|sig)=)[^\s&"']+/gi,
  /(?<=:\/\/)[^\s/@]{1,256}@/g,
];

/** The readable part of a page: its title or first heading; empty when it has none. */
function pageTitle(page: string): string {
  const visible = page.replace(hiddenElements, " ");
  for (const heading of headings) {
    const words = heading
      .exec(visible)?.[1]
      ?.replace(/&[#\w]{1,10};/g, " ")
      .trim();
    if (words) return words;
  }
  return "";
}

/**
 * An endpoint's text for a client's eyes: one line of at most 1,000 characters, without markup, control characters and
 * credentials. `secrets` are texts that must not appear, besides everything that looks like a credential.
 */
export function errorWords(text: string, secrets: readonly string[] = []): string {
  let words = text.slice(0, maxReadChars);
  if (markup.test(words)) words = pageTitle(words);
  for (const secret of secrets) if (secret.length >= 4) words = words.replaceAll(secret, "[hidden]");
  for (const pattern of credentials) words = words.replace(pattern, "[hidden]");
  words = words.toWellFormed().replace(controls, " ").replace(/\s+/g, " ").trim();
  return words.length <= maxErrorWords ? words : `${words.slice(0, maxErrorWords - 1).replace(/[\ud800-\udbff]$/, "")}…`;
}
