/**
 * Loaded into every process that tests run or start; restricts it to connections to this machine. A connection to any
 * other address fails before a packet leaves, even where the product's own guard would have refused it. Names that need
 * a name server are not resolved.
 */
import dns, { type LookupAddress } from "node:dns";
import { syncBuiltinESMExports } from "node:module";
import net, { type SocketConnectOpts, type TcpNetConnectOpts } from "node:net";

const loopback = new net.BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");

/** Whether an address is on the loopback interface. */
export function isLoopback(address: string): boolean {
  const family = net.isIP(address);
  return family !== 0 && loopback.check(address, family === 6 ? "ipv6" : "ipv4");
}

/** Attempted addresses beyond this machine, in order; tests assert that there are none. */
export const refusedAddresses: string[] = [];

function refusal(address: string): NodeJS.ErrnoException {
  refusedAddresses.push(address);
  const error: NodeJS.ErrnoException = new Error(`tests may connect to this machine only, not to ${address}`);
  error.code = "ENETUNREACH";
  return error;
}

const isLocalName = (name: string) => /^(?:.*\.)?localhost\.?$/i.test(name);

type Callback = (error: NodeJS.ErrnoException | null, address?: string | LookupAddress[], family?: number) => void;
type Lookup = (host: string, options: object, callback: Callback) => void;

const systemLookup = dns.lookup as unknown as Lookup;
const localLookup = ((host: string, options: unknown, callback?: Callback): void => {
  const [given, answer] = typeof options === "function" ? [{}, options as Callback] : [options, callback as Callback];
  if (net.isIP(host) !== 0 || isLocalName(host)) {
    systemLookup(host, (given ?? {}) as object, answer);
    return;
  }
  const error: NodeJS.ErrnoException = new Error(`getaddrinfo ENOTFOUND ${host}`);
  error.code = "ENOTFOUND";
  process.nextTick(answer, error);
}) as unknown as typeof dns.lookup;

/** A lookup whose results are checked before the socket gets them. */
function checked(lookup: Lookup): Lookup {
  return (host, options, callback) =>
    lookup(host, options, (error, address, family) => {
      const addresses = Array.isArray(address) ? address.map((one) => one.address) : [address ?? ""];
      const foreign = error ? undefined : addresses.find((one) => !isLoopback(one));
      if (foreign === undefined) callback(error, address, family);
      else callback(refusal(foreign));
    });
}

const connect = net.Socket.prototype.connect as (this: net.Socket, ...args: unknown[]) => net.Socket;

net.Socket.prototype.connect = function (this: net.Socket, ...args: unknown[]): net.Socket {
  // Node passes the arguments on as one array.
  const [first] = Array.isArray(args[0]) ? (args[0] as unknown[]) : args;
  const options = (typeof first === "object" && first !== null ? first : undefined) as SocketConnectOpts | undefined;
  const host =
    options === undefined ? (typeof args[1] === "string" ? args[1] : "localhost") : (options as TcpNetConnectOpts).host;
  if (options !== undefined && "path" in options && options.path) return connect.apply(this, args);
  if (host !== undefined && net.isIP(host) !== 0 && !isLoopback(host)) {
    process.nextTick(() => this.destroy(refusal(host)));
    return this;
  }
  if (options !== undefined) {
    const tcp = options as TcpNetConnectOpts;
    tcp.lookup = checked((tcp.lookup ?? localLookup) as unknown as Lookup) as never;
  }
  return connect.apply(this, args);
} as typeof net.Socket.prototype.connect;

dns.lookup = localLookup;
syncBuiltinESMExports();
