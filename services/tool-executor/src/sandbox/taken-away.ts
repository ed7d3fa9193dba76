import dgram from "node:dgram";
import dns from "node:dns";
import { syncBuiltinESMExports } from "node:module";
import net from "node:net";
import os from "node:os";
import v8 from "node:v8";

/** Replaces functions by ones that throw EPERM, for good. */
function takeAway(target: object | null | undefined, label: string, names: readonly string[], advice = ""): void {
  for (const name of names) {
    if (target === null || target === undefined || !(name in target)) continue;
    const value = () => {
      throw Object.assign(new Error(`${label}.${name} is not permitted to tools${advice}`), { code: "EPERM" });
    };
    Object.defineProperty(target, name, { value, writable: false, configurable: false });
  }
}

const byFetch = "; fetch reaches the hosts that the tool declares";

/** The prototype of a socket's inner handle. Every way to the system's sockets leads through these prototypes. */
function innerOf(socket: object): object | undefined {
  const state = Object.getOwnPropertySymbols(socket).find(({ description }) => description === "state symbol");
  const holder = state === undefined ? socket : (socket as Record<symbol, object>)[state];
  const inner = (holder as { handle?: object; _handle?: object } | undefined)?.handle ?? (holder as { _handle?: object })._handle;
  return inner === undefined ? undefined : Object.getPrototypeOf(inner);
}

/**
 * Removes the functions that Node's permissions leave open: sockets, signals, priorities, and V8's flags, some of which
 * write files. The kernel's wall, where there is one, refuses the same. `pipe` is any pipe, needed for its prototype.
 */
export function takeAwayOpenDoors(pipe: net.Socket): void {
  takeAway(process, "process", ["kill", "_kill", "_debugProcess", "_debugEnd", "dlopen"]);
  takeAway(os, "os", ["setPriority"]);
  takeAway(v8, "v8", ["setFlagsFromString", "setHeapSnapshotNearHeapLimit"]);

  // Neither opens a socket: the look-up never answers.
  const tcp = new net.Socket();
  tcp.connect({ host: "nowhere.invalid", port: 1, lookup: () => {} });
  const udp = dgram.createSocket("udp4");
  const inner = ["connect", "connect6", "bind", "bind6", "listen", "send", "send6", "open"];
  takeAway(innerOf(tcp), "tcp", inner, byFetch);
  takeAway(innerOf(udp), "udp", inner, byFetch);
  takeAway(innerOf(pipe), "pipe", ["connect", "connect2", "bind", "bind2", "listen"], byFetch);
  tcp.destroy();
  udp.close();

  takeAway(net.Socket.prototype, "net.Socket", ["connect"], byFetch);
  takeAway(net.Server.prototype, "net.Server", ["listen", "_listen2"], byFetch);
  takeAway(net, "net", ["_createServerHandle"], byFetch);
  takeAway(dgram, "dgram", ["Socket", "createSocket", "_createSocketHandle"], byFetch);
  const names = (target: object) =>
    Object.keys(target).filter((name) => /^(?:lookup|resolve|reverse|Resolver|setServers)/.test(name));
  takeAway(dns, "dns", names(dns), byFetch);
  takeAway(dns.promises, "dns", names(dns.promises), byFetch);
  syncBuiltinESMExports();
}
