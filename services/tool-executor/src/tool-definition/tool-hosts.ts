/** Whether an entry is a `host` or `host:port` as a URL would write it: lower case, IPv6 in brackets. */
export function isHost(entry: string): boolean {
  if (entry.length > 260 || !/^[\w.:[\]-]+$/.test(entry) || !URL.canParse(`http://${entry}`)) return false;
  const { hostname, port } = new URL(`http://${entry}`);
  // A URL leaves out the default port.
  return entry === hostname || entry === `${hostname}:${port || "80"}`;
}

/** Whether a tool's hosts include the address. As in TOOLS_ALLOWED_HOSTS, `host` includes all its ports. */
export function namesHost(hosts: readonly string[], url: URL): boolean {
  const port = url.port || (url.protocol === "https:" ? "443" : "80");
  return hosts.includes(url.hostname) || hosts.includes(`${url.hostname}:${port}`);
}
