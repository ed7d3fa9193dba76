import { onTermination } from "@turnwright/platform/process/termination";

const signal = onTermination(async () => (await starting.catch(() => undefined))?.close());
// Loaded under the handler: process 1 of a container ignores signals that have none.
const loading = Promise.all([import("./all-in-one.ts"), import("./banner.ts"), import("@turnwright/platform/process/lifecycle")]);
const starting = loading.then(([{ startAllInOne }]) => startAllInOne(process.env, signal));
const [, { banner }, { logUnhandledRejections, reportStartFailure }] = await loading;
await starting.then((system) => {
  logUnhandledRejections(system.logger);
  process.stderr.write(banner(system));
}, reportStartFailure);
