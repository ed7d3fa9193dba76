import { onTermination, reportStartFailure } from "@turnwright/platform/process/lifecycle";
import { startMesh } from "./mesh.ts";

async function start(): Promise<void> {
  const mesh = await startMesh();
  onTermination(() => mesh.close());
  const lines = mesh.processes.map(
    ({ name, port, child }) => `  ${name.padEnd(20)} 127.0.0.1:${String(port).padEnd(6)} pid ${child.pid}`,
  );
  process.stderr.write(`\nTurnwright's mesh is ready at http://127.0.0.1:${mesh.port}\n\n${lines.join("\n")}\n\n`);
}

await start().catch(reportStartFailure);
