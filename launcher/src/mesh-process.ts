/** Runs a service's `main.ts` (argv[2]) as a child of the mesh starter, and ends with it even when the starter is killed. */
import { pathToFileURL } from "node:url";

process.on("disconnect", () => process.kill(process.pid, "SIGTERM"));
await import(pathToFileURL(process.argv[2] ?? "").href);
