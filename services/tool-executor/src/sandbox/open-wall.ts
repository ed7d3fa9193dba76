import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConfigError } from "@turnwright/platform/config/env";
import { behindWall, findLauncher, landlockVersion, nodeProgram, noWall, opensslConfig, type Wall } from "./wall.ts";

/** The wall that the operator demands: TOOLS_SANDBOX. */
export type WallMode = "auto" | "require" | "off";

/** The wall that this system has, and the log line about it at the start. */
export interface OpenedWall {
  readonly wall: Wall;
  readonly level: "info" | "warn";
  readonly line: string;
  /** The step at which the whole wall failed. */
  readonly because?: string;
}

/**
 * The self-test that runs behind the wall. It prints its successes as JSON. Node's permissions are off, so that only
 * the kernel refuses.
 */
const attempts = `
const fs = require("node:fs"), net = require("node:net");
const [parent, file, port, socket] = process.argv.slice(1);
const got = [];
const attempt = (name, act) => { try { act(); got.push(name); } catch {} };
attempt("read", () => fs.readFileSync("/proc/" + parent + "/environ"));
attempt("read", () => fs.readdirSync("/"));
attempt("write", () => fs.writeFileSync(file, "x"));
attempt("signal", () => process.kill(Number(parent), 0));
const connect = (name, to) => new Promise((resolve) => {
  const client = net.connect(to);
  client.on("connect", () => { got.push(name); client.destroy(); resolve(); });
  client.on("error", resolve);
});
Promise.all([connect("connect", { host: "127.0.0.1", port: Number(port) }), connect("connect", { path: "\\0" + socket })])
  .then(() => { console.log(JSON.stringify(got)); process.exit(0); });
`;

const patienceMs = 20_000;
let serial = 0;

/**
 * Tries to read, write, signal and connect behind a wall, and gives the names of the successes. Rejects with the reason
 * when the process does not start.
 */
export async function attack(wall: Wall): Promise<string[]> {
  const name = `turnwright-wall-${process.pid}-${++serial}`;
  const file = join(tmpdir(), name);
  const tcp = createServer((socket) => socket.destroy()).listen(0, "127.0.0.1");
  const unix = createServer((socket) => socket.destroy()).listen(`\0${name}`);
  try {
    await Promise.all([once(tcp, "listening"), once(unix, "listening")]);
    const { port } = tcp.address() as { port: number };
    const node = [nodeProgram, `--openssl-config=${opensslConfig}`, "-e", attempts];
    const [program = "", ...args] = behindWall(wall, [], [...node, String(process.pid), file, String(port), name]);
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], env: { TZ: "UTC" }, cwd: "/", timeout: patienceMs });
    const said = { out: "", err: "" };
    child.stdout.on("data", (piece: Buffer) => (said.out += piece.toString()));
    child.stderr.on("data", (piece: Buffer) => (said.err += piece.toString()));
    const [code, signal] = (await once(child, "close")) as [number | null, string | null];
    if (code !== 0) throw new Error(said.err.trim().split("\n")[0] || `it ended (${signal ?? `code ${code}`})`);
    const got = JSON.parse(said.out) as string[];
    if (existsSync(file)) got.push("write");
    return [...new Set(got)];
  } finally {
    tcp.close();
    unix.close();
    rmSync(file, { force: true });
  }
}

/** The reason why a wall does not hold; undefined when it does. */
async function fault(wall: Wall & { kind: "kernel" }): Promise<string | undefined> {
  try {
    const open = (await attack(wall)).filter((what) => wall.landlock || what !== "read");
    return open.length === 0 ? undefined : `self-test: a process behind the wall could ${open.join(", ")}`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Finds the best wall that holds, by trying. Versions and configurations are not trusted. */
async function tryWalls(): Promise<OpenedWall> {
  const only = (because: string): OpenedWall => ({
    wall: noWall,
    level: "warn",
    line:
      "Custom tools: Node's permissions only; a fault in Node opens files and connections. " +
      "Set TOOLS_SANDBOX=require to refuse them.",
    because,
  });
  if (process.platform !== "linux") return only(`wall: there is none for ${process.platform}`);
  const launcher = findLauncher();
  if (launcher === undefined) return only("wall: perl: not installed (package perl-base, or perl)");
  const whole = { kind: "kernel", landlock: true, launcher } as const;
  const because = await fault(whole);
  if (because === undefined) {
    const version = landlockVersion(launcher);
    const line = `Custom tools: Node's permissions, Landlock (ABI ${version}), seccomp; no network but their hosts`;
    return { wall: whole, level: "info", line };
  }
  const filter = { kind: "kernel", landlock: false, launcher } as const;
  const filterFault = await fault(filter);
  if (filterFault !== undefined) return only(because);
  const line =
    "Custom tools: this kernel has no Landlock; files are guarded against reading by Node alone. Load only code that you trust.";
  return { wall: filter, level: "warn", line, because };
}

let tried: Promise<OpenedWall> | undefined;

/**
 * The wall of this system for a value of TOOLS_SANDBOX. It is tested once per process. With `require`, rejects with
 * ConfigError, which names the step that failed, unless the whole wall holds.
 */
export async function openWall(mode: WallMode): Promise<OpenedWall> {
  if (mode === "off") {
    return { wall: noWall, level: "warn", line: "Custom tools: Node's permissions only, as TOOLS_SANDBOX=off asks" };
  }
  tried ??= tryWalls();
  const opened = await tried;
  if (mode === "require" && opened.because !== undefined) {
    throw new ConfigError([`TOOLS_SANDBOX: require: ${opened.because}; auto starts with what this system has`]);
  }
  return opened;
}
