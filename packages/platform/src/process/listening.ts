import { once } from "node:events";
import { createServer } from "node:net";
import { ConfigError } from "../config/env.ts";

/** An address at which a server is to listen, with the variables that configure it. */
export interface ListenAddress {
  /** 0: any free port. */
  readonly port: number;
  readonly host: string;
  readonly portVariable: string;
  readonly hostVariable: string;
  /** The setting that gives other ports; unless given, the port's variable. */
  readonly remedy?: string;
}

/**
 * Finds out whether a server can listen at an address, by listening there for a moment. Throws ConfigError with the
 * variable to change. Call it before anything is started that a failed start would have to take back.
 */
export async function checkListenAddress(address: ListenAddress): Promise<void> {
  const { port, host } = address;
  const server = createServer();
  try {
    await once(server.listen({ port, host, exclusive: true }), "listening");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // A machine without IPv6; servers fall back in the same way.
    if (host === "::" && (code === "EAFNOSUPPORT" || code === "EADDRNOTAVAIL")) {
      return await checkListenAddress({ ...address, host: "0.0.0.0" });
    }
    throw explainListenFault(error, address) ?? error;
  }
  server.close();
  await once(server, "close");
}

function explainListenFault(error: unknown, address: ListenAddress): ConfigError | undefined {
  const { port, host, portVariable, hostVariable, remedy = "set another port" } = address;
  const fault = (variable: string, text: string) => new ConfigError([`${variable}: ${text}`]);
  switch ((error as NodeJS.ErrnoException).code) {
    case "EADDRINUSE":
      return fault(portVariable, `another process has port ${port}; end it or ${remedy}`);
    case "EACCES":
      return fault(portVariable, `this user may not listen at port ${port}; set a port above 1023`);
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
    case "EAI_AGAIN":
    case "EINVAL":
    case "EAFNOSUPPORT":
      return fault(hostVariable, `this machine has no address ${host}`);
    default:
      return undefined;
  }
}
