import { type ChildProcess, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import type { Logger } from "@turnwright/platform/logger";
import type { Outbound } from "@turnwright/platform/outbound/outbound";
import type { ToolContext } from "../tool-definition/define-tool.ts";
import { Egress } from "./egress.ts";
import { encodeFrame, type Frame, FrameReader } from "./frames.ts";
import { sandboxCommand, type ToolCode } from "./launch.ts";
import {
  type FromSandbox,
  fromSandbox,
  maxLogLength,
  maxLogs,
  type ToolDescription,
  type ToolMethod,
  type ToSandbox,
} from "./messages.ts";
import { startUsageWatch, type UsageWatch } from "./process-usage.ts";
import type { Wall } from "./wall.ts";

/** The limits of one sandbox. */
export interface SandboxLimits {
  /** Resident memory of the process, in bytes. */
  readonly memoryBytes: number;
  /** Bytes of one message from the process. */
  readonly messageBytes: number;
  /** Bytes that it may write to standard output and error in all. */
  readonly chatterBytes: number;
  /** Processor time of its whole life, in seconds, or more where one call may need it; 300 unless given. */
  readonly cpuSeconds?: number;
}

/** The surroundings that all sandboxes of an executor share. */
export interface SandboxPlace {
  readonly limits: SandboxLimits;
  readonly wall: Wall;
  /** Guards the requests that tools send. */
  readonly outbound: Outbound;
}

/** A sandbox ended, or was killed, during a call: the call's effect is unknown. */
export class SandboxEndedError extends Error {}

/** A process that runs one tool. */
export interface Sandbox {
  /** The tool of its file. Rejects with the file's fault. */
  readonly tool: Promise<ToolDescription>;
  /** Whether it can take another call, with the processor time that one may need. */
  readonly isUsable: boolean;
  /**
   * Runs a call, or asks the tool about an earlier one. `hosts` are those that the tool may fetch from. The signal asks
   * the tool to stop; 500 ms later the process is killed. Rejects with the reason why there is no result.
   */
  call(method: ToolMethod, args: Record<string, unknown>, hosts: readonly string[], context: ToolContext): Promise<unknown>;
  /** Kills the process and its children. */
  kill(): void;
}

/** How long a tool has to obey its signal, in milliseconds: shorter than the executor's own patience. */
const graceMs = 500;
/** Least processor time of one sandbox, in seconds. It also ends a process left spinning by a crash of the executor. */
const leastCpuSeconds = 300;
/** Processor time between calls, for work that a tool has left running. */
const idleCpuMs = 500;
/** Bytes of log lines that a call may send beside its result. */
const maxLogBytes = 1_048_576;
const startMs = 20_000;

/** Processor time of one call: twice its time limit, as compilation and garbage collection have their own threads. */
function callCpuMs(timeoutMs: number): number {
  return Math.max(1_000, timeoutMs * 2);
}

/** Starts the process of a tool. `timeoutMs`: the tool's time limit, where it is known already. */
export function startSandbox(code: ToolCode, place: SandboxPlace, timeoutMs = 0): Sandbox {
  const { limits, wall } = place;
  const cpuSeconds = Math.max(limits.cpuSeconds ?? leastCpuSeconds, Math.ceil((callCpuMs(timeoutMs) * 2) / 1_000));
  const heapMegabytes = Math.max(16, Math.floor(limits.memoryBytes / 1_048_576));
  const [program = "", ...args] = sandboxCommand(code, wall, { heapMegabytes, cpuSeconds });
  // Its own process group, so that no child outlives it; no environment, so that it holds no secret.
  const child: ChildProcess = spawn(program, args, {
    stdio: ["pipe", "pipe", "pipe", "pipe"],
    detached: true,
    env: { TZ: "UTC" },
    cwd: "/",
  });
  const sandbox = new ChildSandbox(child, place, cpuSeconds * 1_000);
  sandbox.start();
  return sandbox;
}

interface Pending {
  readonly id: number;
  readonly logger: Logger;
  readonly egress: Egress;
  resolve(output: unknown): void;
  reject(error: unknown): void;
}

class ChildSandbox implements Sandbox {
  readonly tool: Promise<ToolDescription>;
  readonly #child: ChildProcess;
  readonly #limits: SandboxLimits;
  readonly #outbound: Outbound;
  /** The launcher's own message when the kernel's wall failed. */
  #wallFault: string | undefined;
  readonly #loading = Promise.withResolvers<ToolDescription>();
  #pending: Pending | undefined;
  #calls = 0;
  #chatter = 0;
  /** Bytes and log lines since the last call began. */
  #bytes = 0;
  #logs = 0;
  #isOver = false;
  #known: ToolDescription | undefined;
  readonly #lifetimeCpuMs: number;
  #usage: UsageWatch | undefined;
  #startTimer: NodeJS.Timeout | undefined;

  constructor(child: ChildProcess, { limits, outbound }: SandboxPlace, lifetimeCpuMs: number) {
    this.#child = child;
    this.#limits = limits;
    this.#outbound = outbound;
    this.#lifetimeCpuMs = lifetimeCpuMs;
    this.tool = this.#loading.promise;
    this.tool.catch(() => {});
  }

  /** Starts to read the process's output, and to watch its limits. */
  start(): void {
    const child = this.#child;
    const limits = this.#limits;
    const reader = new FrameReader(limits.messageBytes);
    (child.stdio[3] as Readable).on("data", (piece: Buffer) => {
      if (this.#isOver) return;
      this.#bytes += piece.byteLength;
      if (this.#bytes > limits.messageBytes + maxLogBytes) {
        this.#end("The tool sent more than allowed.");
        return;
      }
      try {
        for (const frame of reader.push(piece)) this.#take(fromSandbox.parse(frame.message), frame);
      } catch (error) {
        this.#end(error instanceof RangeError ? "The tool's result is too long." : "The tool's process sent an invalid message.");
      }
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (piece: Buffer) => {
        this.#chatter += piece.byteLength;
        if (this.#chatter > limits.chatterBytes) this.#end("The tool wrote more to its output than allowed.");
      });
    }
    for (const stream of child.stdio) stream?.on("error", () => {});
    child.on("error", (error) => this.#end(`The tool's process did not start: ${error.message}`));
    child.stderr?.once("data", (piece: Buffer) => {
      const [line = ""] = piece.toString().split("\n");
      if (line.startsWith("wall: ")) this.#wallFault = line.slice(0, 300);
    });
    // On "close", not "exit": by then its last output has been read.
    child.on("close", (code, signal) => {
      const why = code === 125 ? this.#wallFault : undefined;
      this.#end(why === undefined ? `The tool's process ended (${signal ?? `code ${code}`}).` : `No sandbox: ${why}`);
    });
    const { memoryBytes } = limits;
    this.#usage = startUsageWatch(child.pid, { memoryBytes, cpuMs: startMs }, (reason) => this.#end(reason));
    this.#startTimer = setTimeout(() => this.#end("The tool's file took too long to load."), startMs).unref();
  }

  get isUsable(): boolean {
    const needed = callCpuMs(this.#known?.timeoutMs ?? 0);
    return !this.#isOver && this.#pending === undefined && (this.#usage?.cpuMs ?? 0) + needed < this.#lifetimeCpuMs;
  }

  call(method: ToolMethod, args: Record<string, unknown>, hosts: readonly string[], context: ToolContext): Promise<unknown> {
    const { callKey, signal, logger } = context;
    if (!this.isUsable) return Promise.reject(new Error("The tool's process has ended."));
    const id = ++this.#calls;
    this.#chatter = 0;
    this.#bytes = 0;
    this.#logs = 0;
    this.#usage?.allowCpu(callCpuMs(this.#known?.timeoutMs ?? 0));
    let killTimer: NodeJS.Timeout | undefined;
    const onAbort = () => {
      this.#send({ type: "abort", id });
      killTimer = setTimeout(() => this.#end("The tool did not stop when it was told to."), graceMs);
    };
    const send = (message: ToSandbox, body?: Uint8Array, sent?: () => void) => this.#send(message, body, sent);
    const egress = new Egress({ hosts, outbound: this.#outbound, send });
    return new Promise<unknown>((resolvePromise, reject) => {
      this.#pending = { id, logger, egress, resolve: resolvePromise, reject };
      this.#send({ type: "call", id, method, arguments: args, callKey });
      if (signal.aborted) onAbort();
      else signal.addEventListener("abort", onAbort, { once: true });
    }).finally(() => {
      egress.close();
      clearTimeout(killTimer);
      signal.removeEventListener("abort", onAbort);
    });
  }

  kill(): void {
    this.#end("The tool's process was ended.");
  }

  #send(message: ToSandbox, body?: Uint8Array, sent?: () => void): void {
    (this.#child.stdin as Writable).write(encodeFrame(message, body), sent);
  }

  #take(message: FromSandbox, frame: Frame): void {
    switch (message.type) {
      case "loaded":
        if (this.#known !== undefined) throw new SyntaxError("loaded twice");
        clearTimeout(this.#startTimer);
        this.#known = message.tool;
        this.#usage?.allowCpu(idleCpuMs);
        this.#loading.resolve(message.tool);
        return;
      case "fault":
        this.#loading.reject(new Error(message.fault));
        this.kill();
        return;
      case "fetch":
        if (this.#pending === undefined) {
          this.#send({ type: "fetch-failed", id: message.id, message: "a tool may fetch only during a call" });
        } else if (this.#pending.egress.take(message, frame.body)) {
          // Requests have their own limits: their number, and the bytes of a body.
          this.#bytes -= frame.size;
        } else {
          this.#end("The tool sent more requests than allowed.");
        }
        return;
      case "fetch-abort":
        this.#pending?.egress.abort(message.id);
        return;
      case "log":
        this.#logs += 1;
        if (this.#logs <= maxLogs) this.#pending?.logger[message.level](message.message.slice(0, maxLogLength));
        return;
      case "output":
      case "failed": {
        const pending = this.#pending;
        // Only the running call has a result; an answer to another call was made up by the tool.
        if (pending?.id !== message.id) {
          this.#end("The tool answered a call that is not running.");
          return;
        }
        this.#pending = undefined;
        this.#usage?.allowCpu(idleCpuMs);
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

  /** Kills the process group and rejects the running call. */
  #end(why: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#usage?.stop();
    clearTimeout(this.#startTimer);
    const { pid } = this.#child;
    if (pid !== undefined) {
      try {
        process.kill(-pid, "SIGKILL");
      } catch {
        // The whole group has ended already.
      }
    }
    for (const stream of this.#child.stdio) stream?.destroy();
    this.#loading.reject(new Error(why));
    const pending = this.#pending;
    this.#pending = undefined;
    pending?.egress.close();
    pending?.reject(new SandboxEndedError(why));
  }
}
