import { type ChildProcess, spawn } from "node:child_process";
import { realpathSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { Readable, Writable } from "node:stream";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { Logger } from "@turnwright/platform/logger";
import type { ToolContext } from "../define-tool.ts";
import { encodeFrame, FrameReader } from "./frames.ts";
import {
  type FromSandbox,
  fromSandbox,
  maxLogLength,
  maxLogs,
  type ToolDescription,
  type ToolMethod,
  type ToSandbox,
} from "./messages.ts";
import { type ProcessUsage, readUsage } from "./process-usage.ts";

/** What a sandbox may use. */
export interface SandboxLimits {
  /** Resident memory of the process, in bytes. */
  readonly memoryBytes: number;
  /** Bytes that it may send in one message. */
  readonly messageBytes: number;
  /** Bytes that it may write to its standard output and error in all. */
  readonly chatterBytes: number;
  /** Processor time of its whole life, in seconds, if not more is needed for a call; 300 unless given. */
  readonly cpuSeconds?: number;
}

/** A sandbox ended, or was ended, in the middle of a call: what the call did is not known. */
export class SandboxEndedError extends Error {}

/** A process that runs one tool. */
export interface Sandbox {
  /** The tool of its file. Rejects with the file's fault. */
  readonly tool: Promise<ToolDescription>;
  /** Whether it can take another call, with the processor time that one may need. */
  readonly isUsable: boolean;
  /** Runs a call, or asks the tool about an earlier one; the signal asks the tool to stop, and stops the process when it does not. Rejects with why there is no result. */
  call(method: ToolMethod, args: unknown, context: ToolContext): Promise<unknown>;
  /** Ends the process and all that it started. */
  kill(): void;
}

/** How long a tool has to obey its signal, in milliseconds: shorter than the executor's own patience. */
const graceMs = 500;
const checkMs = 50;
/** Least processor time of one sandbox, in seconds: what is left spinning after a crash of the executor ends by this. */
const leastCpuSeconds = 300;
/** Processor time between calls, for what a tool has left running. */
const idleCpuMs = 500;
/** What a call may send beside its result: log lines. */
const besideBytes = 1_048_576;
const startMs = 20_000;

const here = import.meta.dirname;
const childFile = join(here, "child.ts");

/** Where modules and our own files lie, as the permission model wants to know it. */
function readableRoots(file: string): string[] {
  const root = resolve(here, "../../../..");
  const roots = [
    dirname(realpathSync(file)),
    dirname(resolve(file)),
    join(root, "node_modules"),
    join(root, "packages"),
    resolve(here, "../.."),
  ];
  return [...new Set(roots)];
}

/** Processor time of one call: twice its time limit, since compilation and garbage collection have threads of their own. */
function callCpuMs(timeoutMs: number): number {
  return Math.max(1_000, timeoutMs * 2);
}

/** Starts the process of a tool's file. `timeoutMs`: the tool's, where it is known already. */
export function startSandbox(file: string, limits: SandboxLimits, timeoutMs = 0): Sandbox {
  const cpuSeconds = Math.max(limits.cpuSeconds ?? leastCpuSeconds, Math.ceil((callCpuMs(timeoutMs) * 2) / 1_000));
  const heapMegabytes = Math.max(16, Math.floor(limits.memoryBytes / 1_048_576));
  const node = [
    process.execPath,
    "--permission",
    ...readableRoots(file).map((root) => `--allow-fs-read=${root}`),
    `--max-old-space-size=${heapMegabytes}`,
    "--disable-warning=ExperimentalWarning",
    "--disable-warning=SecurityWarning",
    childFile,
    file,
  ];
  // A group of its own, so that nothing that it starts outlives it; no environment, so that it has no secret to tell.
  const child: ChildProcess = spawn("/bin/sh", ["-c", `ulimit -t ${cpuSeconds} 2>/dev/null; exec "$@"`, "sh", ...node], {
    stdio: ["pipe", "pipe", "pipe", "pipe"],
    detached: true,
    env: { TZ: "UTC" },
    cwd: "/",
  });
  return new ChildSandbox(child, limits, cpuSeconds * 1_000);
}

interface Pending {
  readonly id: number;
  readonly logger: Logger;
  resolve(output: unknown): void;
  reject(error: unknown): void;
}

class ChildSandbox implements Sandbox {
  readonly tool: Promise<ToolDescription>;
  readonly #child: ChildProcess;
  readonly #limits: SandboxLimits;
  readonly #loading = Promise.withResolvers<ToolDescription>();
  #pending: Pending | undefined;
  #calls = 0;
  #chatter = 0;
  /** Bytes and log lines since the last call began. */
  #bytes = 0;
  #logs = 0;
  #isOver = false;
  #known: ToolDescription | undefined;
  #usage: ProcessUsage = { residentBytes: 0, cpuMs: 0 };
  #cpuLimitMs = startMs;
  readonly #lifetimeCpuMs: number;
  readonly #watch: NodeJS.Timeout;
  readonly #startTimer: NodeJS.Timeout;

  constructor(child: ChildProcess, limits: SandboxLimits, lifetimeCpuMs: number) {
    this.#child = child;
    this.#lifetimeCpuMs = lifetimeCpuMs;
    this.#limits = limits;
    this.tool = this.#loading.promise;
    this.tool.catch(() => {});
    const reader = new FrameReader(limits.messageBytes);
    (child.stdio[3] as Readable).on("data", (piece: Buffer) => {
      if (this.#isOver) return;
      this.#bytes += piece.byteLength;
      if (this.#bytes > limits.messageBytes + besideBytes) {
        this.#end("The tool sent more than it may.");
        return;
      }
      try {
        for (const message of reader.push(piece)) this.#take(fromSandbox.parse(message));
      } catch (error) {
        this.#end(
          error instanceof RangeError ? "The tool's result is longer than it may be." : "The tool's process spoke nonsense.",
        );
      }
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (piece: Buffer) => {
        this.#chatter += piece.byteLength;
        if (this.#chatter > limits.chatterBytes) this.#end("The tool wrote more to its output than it may.");
      });
    }
    for (const stream of child.stdio) stream?.on("error", () => {});
    child.on("error", (error) => this.#end(`The tool's process did not start: ${error.message}`));
    child.on("exit", (code, signal) => this.#end(`The tool's process ended (${signal ?? `code ${code}`}).`));
    this.#watch = setInterval(() => this.#check(), checkMs).unref();
    this.#startTimer = setTimeout(() => this.#end("The tool's file took too long to load."), startMs).unref();
  }

  get isUsable(): boolean {
    const needed = callCpuMs(this.#known?.timeoutMs ?? 0);
    return !this.#isOver && this.#pending === undefined && this.#usage.cpuMs + needed < this.#lifetimeCpuMs;
  }

  call(method: ToolMethod, args: unknown, context: ToolContext): Promise<unknown> {
    const { callKey, signal, logger } = context;
    if (!this.isUsable) return Promise.reject(new Error("The tool's process is not there."));
    const id = ++this.#calls;
    this.#chatter = 0;
    this.#bytes = 0;
    this.#logs = 0;
    this.#allowCpu(callCpuMs(this.#known?.timeoutMs ?? 0));
    let killTimer: NodeJS.Timeout | undefined;
    const onAbort = () => {
      this.#send({ type: "abort", id });
      killTimer = setTimeout(() => this.#end("The tool did not stop when it was told to."), graceMs);
    };
    return new Promise<unknown>((resolvePromise, reject) => {
      this.#pending = { id, logger, resolve: resolvePromise, reject };
      this.#send({ type: "call", id, method, args, callKey });
      if (signal.aborted) onAbort();
      else signal.addEventListener("abort", onAbort, { once: true });
    }).finally(() => {
      clearTimeout(killTimer);
      signal.removeEventListener("abort", onAbort);
    });
  }

  kill(): void {
    this.#end("The tool's process was ended.");
  }

  #send(message: ToSandbox): void {
    (this.#child.stdin as Writable).write(encodeFrame(message));
  }

  #take(message: FromSandbox): void {
    switch (message.type) {
      case "loaded":
        if (this.#known !== undefined) throw new SyntaxError("loaded twice");
        clearTimeout(this.#startTimer);
        this.#known = message.tool;
        this.#allowCpu(idleCpuMs);
        this.#loading.resolve(message.tool);
        return;
      case "fault":
        this.#loading.reject(new Error(message.fault));
        this.kill();
        return;
      case "log":
        this.#logs += 1;
        if (this.#logs <= maxLogs) this.#pending?.logger[message.level](message.message.slice(0, maxLogLength));
        return;
      case "output":
      case "failed": {
        const pending = this.#pending;
        // Only the call that is under way has a result; an answer to another is the tool's own making.
        if (pending?.id !== message.id) {
          this.#end("The tool answered a call that it does not have.");
          return;
        }
        this.#pending = undefined;
        this.#allowCpu(idleCpuMs);
        if (message.type === "output") pending.resolve(message.output);
        else if (message.param === undefined) pending.reject(new Error(message.message));
        else pending.reject(fail(ErrorReason.INVALID_TOOL_ARGUMENTS, message.message, { param: message.param }));
        return;
      }
      default:
        message satisfies never;
        throw new SyntaxError("an unknown message");
    }
  }

  #readUsage(): ProcessUsage {
    this.#usage = (this.#child.pid === undefined ? undefined : readUsage(this.#child.pid)) ?? this.#usage;
    return this.#usage;
  }

  #allowCpu(ms: number): void {
    this.#cpuLimitMs = this.#readUsage().cpuMs + ms;
  }

  #check(): void {
    const { residentBytes, cpuMs } = this.#readUsage();
    if (residentBytes > this.#limits.memoryBytes) {
      this.#end(`The tool used more than its ${Math.floor(this.#limits.memoryBytes / 1_048_576)} MB of memory.`);
    } else if (cpuMs > this.#cpuLimitMs) {
      this.#end("The tool used more processor time than it may.");
    }
  }

  /** Ends the process group, whatever it does just now, and gives the call under way its error. */
  #end(why: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearInterval(this.#watch);
    clearTimeout(this.#startTimer);
    const { pid } = this.#child;
    if (pid !== undefined) {
      try {
        process.kill(-pid, "SIGKILL");
      } catch {
        // All of them are gone already.
      }
    }
    for (const stream of this.#child.stdio) stream?.destroy();
    this.#loading.reject(new Error(why));
    const pending = this.#pending;
    this.#pending = undefined;
    pending?.reject(new SandboxEndedError(why));
  }
}
