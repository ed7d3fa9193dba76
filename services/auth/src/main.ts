import { runStoredService } from "@turnwright/platform/process/run-service";
import { authConfig } from "./index.ts";
import { startStandaloneAuth } from "./standalone.ts";

await runStoredService({ name: "auth", schema: "auth", config: authConfig }, startStandaloneAuth);
