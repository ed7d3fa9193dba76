import { fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { Holdings } from "./measured-gateway-process.ts";

/** A gateway in its own process, whose resources can be measured. */
export interface MeasuredGateway {
  readonly port: number;
  /** Type name of the service behind it, with the methods `Read`, `StreamRead`, `WatchShelf`. */
  readonly service: string;
  /** Its resources after a garbage collection. */
  holdings(): Promise<Holdings>;
  stop(): Promise<void>;
}

/** Starts a gateway with these variables on top of the defaults. */
export async function startMeasuredGateway(env: Readonly<Record<string, string>> = {}): Promise<MeasuredGateway> {
  const child = fork(join(import.meta.dirname, "measured-gateway-process.ts"), [JSON.stringify(env)], {
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  const ended = once(child, "exit").then(([code, signal]) => {
    throw new Error(`the gateway ended with ${code ?? signal}`);
  });
  ended.catch(() => {});
  const [{ port, service }] = (await Promise.race([once(child, "message"), ended])) as [{ port: number; service: string }];
  return {
    port,
    service,
    async holdings() {
      const told = once(child, "message");
      child.send("holdings");
      return ((await Promise.race([told, ended])) as [Holdings])[0];
    },
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, "exit");
      child.kill("SIGKILL");
      await gone;
    },
  };
}
