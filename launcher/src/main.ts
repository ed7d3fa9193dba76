import { logUnhandledRejections, onTermination, reportStartFailure } from "@turnwright/platform/process/lifecycle";
import { startAllInOne } from "./all-in-one.ts";
import { banner } from "./banner.ts";

async function start(): Promise<void> {
  const system = await startAllInOne();
  logUnhandledRejections(system.logger);
  onTermination(() => system.close());
  process.stderr.write(banner(system));
}

await start().catch(reportStartFailure);
