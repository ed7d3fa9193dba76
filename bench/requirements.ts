import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";

/** Script of the Portkey gateway, from the peers' own lockfile. */
export const portkeyScript = join(import.meta.dirname, "peers/node_modules/@portkey-ai/gateway/build/start-server.js");

/** Something that rows of the bench need and a machine may lack. */
interface Requirement {
  readonly rows: readonly string[];
  /** The missing thing and the remedy; undefined when the requirement is met. */
  missing(): string | undefined;
}

const requirements: readonly Requirement[] = [
  {
    rows: ["p1", "p2", "p3"],
    missing: () => (existsSync(portkeyScript) ? undefined : "the peers are not installed; run npm ci --prefix bench/peers"),
  },
  {
    rows: ["p3"],
    missing: () =>
      spawnSync("redis-server", ["--version"], { stdio: "ignore" }).status === 0
        ? undefined
        : "the mesh needs Redis and there is no redis-server on the PATH; install redis-server",
  },
];

/** Removes the rows that cannot run on this machine from `rows`; returns one line for each cause. */
export function leaveOutUnmet(rows: Set<string>): string[] {
  const asked = [...rows];
  return requirements.flatMap(({ rows: needing, missing }) => {
    const wanted = asked.filter((row) => needing.includes(row));
    const cause = wanted.length === 0 ? undefined : missing();
    if (cause === undefined) return [];
    for (const row of wanted) rows.delete(row);
    return [`Left out: ${wanted.join(", ").toUpperCase()}: ${cause}.`];
  });
}
