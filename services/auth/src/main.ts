import { onTermination } from "@turnwright/platform/process/termination";

onTermination();
// Loaded under the handler: process 1 of a container ignores signals that have none.
const [{ runStoredService }, { authConfig }, { startStandaloneAuth }] = await Promise.all([
  import("@turnwright/platform/process/run-service"),
  import("./index.ts"),
  import("./standalone.ts"),
]);
await runStoredService({ name: "auth", schema: "auth", config: authConfig }, startStandaloneAuth);
