/** A line of a part's log. */
interface Line {
  readonly level: string;
  readonly service: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

/** The lines of a log from the first that tells of a shutdown on, and those among them that need a person. */
export function shutdownLines(log: string): { readonly lines: Line[]; readonly alarming: Line[] } {
  const all = log.split("\n").flatMap((line) => (line.startsWith("{") ? [JSON.parse(line) as Line] : []));
  const from = all.findIndex(({ msg }) => msg === "draining");
  const lines = from < 0 ? [] : all.slice(from);
  return { lines, alarming: lines.filter(({ level, err }) => level !== "info" || err !== undefined) };
}
