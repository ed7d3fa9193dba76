/**
 * Runs a service's `main.ts` (argv[2]) as a child of the mesh starter; ends with the starter, even when that is killed.
 */
import { pathToFileURL } from "node:url";
import { isTerminating } from "@turnwright/platform/process/termination";

process.on("message", (message) => {
  if (message === "stop" && !isTerminating()) process.kill(process.pid, "SIGTERM");
});
process.on("disconnect", () => process.kill(process.pid, "SIGTERM"));
await import(pathToFileURL(process.argv[2] ?? "").href);
