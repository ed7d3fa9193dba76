/** A `host` or `host:port` of the internet, as a URL would write it: lower case, IPv6 in brackets. */
export function isHost(entry: string): boolean {
  if (entry.length > 260 || !/^[\w.:[\]-]+$/.test(entry) || !URL.canParse(`http://${entry}`)) return false;
  const { hostname, port } = new URL(`http://${entry}`);
  // A URL leaves out the port that it would take anyway.
  return entry === hostname || entry === `${hostname}:${port || "80"}`;
}

/** Whether a tool's hosts name the address; `host` alone stands for all its ports, as in TOOLS_ALLOWED_HOSTS. */
export function namesHost(hosts: readonly string[], url: URL): boolean {
  const port = url.port || (url.protocol === "https:" ? "443" : "80");
  return hosts.includes(url.hostname) || hosts.includes(`${url.hostname}:${port}`);
}
