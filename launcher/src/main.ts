import { ConfigError } from "@turnwright/platform/env";
import { startAllInOne } from "./all-in-one.ts";
import { banner } from "./banner.ts";
import { onTermination } from "./termination.ts";

try {
  const system = await startAllInOne();
  onTermination(() => system.close());
  process.stderr.write(banner(system));
} catch (error) {
  if (!(error instanceof ConfigError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
