/** A line of a part's log. */
interface Line {
  readonly level: string;
  readonly service: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

/**
 * The lines of a log from the first that tells of a shutdown on, and those among them that need a person, although the
 * part that wrote them was ending.
 */
export function shutdownLines(log: string): { readonly lines: Line[]; readonly alarming: Line[] } {
  const all = log.split("\n").flatMap((line) => (line.startsWith("{") ? [JSON.parse(line) as Line] : []));
  const from = all.findIndex(({ msg }) => msg === "draining");
  const lines = from < 0 ? [] : all.slice(from);
  const ending = new Set<string>();
  const alarming = lines.filter(({ level, service, msg, err }) => {
    if (msg === "draining") ending.add(service);
    return ending.has(service) && (level !== "info" || err !== undefined);
  });
  return { lines, alarming };
}
