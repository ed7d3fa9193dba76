/**
 * The URL of a store with its user name and password percent-encoded, also when they hold characters with a meaning in
 * URLs (`/ # ? @ : %`) as they are. Sequences such as `%2F` count as encoded. Text that is no URL with a host is
 * returned as it is.
 */
export function encodedStoreUrl(text: string): string {
  const parts = /^([a-z]+:\/\/)(.*)$/s.exec(text);
  if (parts === null) return text;
  const [, scheme = "", rest = ""] = parts;
  const at = endOfCredentials(rest);
  if (at === -1) return text;
  const credentials = rest.slice(0, at);
  const colon = credentials.indexOf(":");
  const user = colon === -1 ? credentials : credentials.slice(0, colon);
  const password = colon === -1 ? "" : `:${encoded(credentials.slice(colon + 1))}`;
  return `${scheme}${encoded(user)}${password}@${rest.slice(at + 1)}`;
}

/**
 * Position of the `@` before the host: the last one whose rest looks like `host:port/name?name=value`. An `@` in the
 * query of such a rest belongs to the query.
 */
function endOfCredentials(rest: string): number {
  for (let at = rest.indexOf("@"); at !== -1; at = rest.indexOf("@", at + 1)) {
    if (/^(?:\[[0-9a-f:.]+\]|[^@/?#:[\]]*)(?::\d*)?(?:\/[^@/?#]*)?(?:\?[\w.-]+=[^#]*)?$/i.test(rest.slice(at + 1))) return at;
  }
  return -1;
}

function encoded(text: string): string {
  let plain = text;
  try {
    plain = decodeURIComponent(text);
  } catch {
    // A percent sign of the password itself.
  }
  return encodeURIComponent(plain);
}
