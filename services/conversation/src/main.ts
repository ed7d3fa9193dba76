import { onTermination } from "@turnwright/platform/process/termination";

onTermination();
// Loaded under the handler: process 1 of a container ignores signals that have none.
const { runConversation } = await import("./standalone.ts");
await runConversation();
