/**
 * Loaded before a process starts (`--import`): answers each request on a loopback port with the source files of which a
 * function ran since the request before it, and writes the port to the file TRACED_PORT_FILE.
 */
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { Session } from "node:inspector/promises";
import { fileURLToPath } from "node:url";

const portFile = process.env.TRACED_PORT_FILE;
// Processes that the traced one starts inherit its options.
if (portFile !== undefined && process.argv[1]?.endsWith("launcher/src/main.ts")) {
  const session = new Session();
  session.connect();
  await session.post("Profiler.enable");
  await session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: false });
  const server = createServer(async (_request, response) => {
    const { result } = await session.post("Profiler.takePreciseCoverage");
    const ran = ({ url, functions }) =>
      url.startsWith("file:") && functions.some(({ ranges }) => ranges.some(({ count }) => count > 0));
    response.end(JSON.stringify(result.filter(ran).map(({ url }) => fileURLToPath(url))));
  });
  server.listen(0, "127.0.0.1", () => writeFileSync(portFile, String(server.address().port)));
  server.unref();
}
