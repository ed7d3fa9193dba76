import { onTermination } from "@turnwright/platform/process/termination";
import type { RunningMesh } from "./mesh.ts";

const signal = onTermination(async () => (await starting.catch(() => undefined))?.close());
// Loaded under the handler: process 1 of a container ignores signals that have none.
const loading = Promise.all([import("./mesh.ts"), import("@turnwright/platform/process/lifecycle")]);
const starting = loading.then(([{ startMesh }]) => startMesh(process.env, signal));
const [, { reportStartFailure }] = await loading;
await starting.then(announce, reportStartFailure);

function announce({ port, processes, databaseDirectory }: RunningMesh): void {
  const lines = processes.map(
    ({ name, port, child }) => `  ${name.padEnd(20)} 127.0.0.1:${String(port).padEnd(6)} pid ${child.pid}`,
  );
  if (databaseDirectory !== undefined) lines.push(`  ${"PostgreSQL".padEnd(20)} data in ${databaseDirectory}`);
  process.stderr.write(`\nTurnwright's mesh is ready at http://127.0.0.1:${port}\n\n${lines.join("\n")}\n\n`);
}
