/**
 * The program of a sandbox: loads the tool of one file and runs its calls, one at a time. It has no environment, may
 * read little and write nothing. Exceeding a limit ends this process, never the executor.
 *
 *   node … child.ts <file>       frames in on standard input, frames out on descriptor 3
 */
import { Socket } from "node:net";
import { pathToFileURL } from "node:url";
import { z } from "zod";
import type { JsonSchema, Tool } from "../tool-definition/define-tool.ts";
import { toolShape } from "../tool-definition/tool-shape.ts";
import type { TunnelledFetch } from "./child-fetch.ts";
import { encodeFrame, FrameReader } from "./frames.ts";
import { type FromSandbox, maxLogLength, maxLogs, type ToSandbox } from "./messages.ts";
import { takeAwayOpenDoors } from "./taken-away.ts";
import { resolveToolModules } from "./tool-modules.ts";

const maxFrameBytes = 8_388_608;

// Saved before the tool's code can replace them.
const out = new Socket({ fd: 3, readable: false, writable: true });
const stringify = JSON.stringify;

takeAwayOpenDoors(out);
resolveToolModules();

function send(message: FromSandbox, body?: Buffer): void {
  out.write(encodeFrame(message, body));
}

let tunnel: Promise<TunnelledFetch> | undefined;

/** Loaded with the first request: most tools send none, and their processes start faster without it. */
async function openTunnel(): Promise<TunnelledFetch> {
  const { TunnelledFetch } = await import("./child-fetch.ts");
  return new TunnelledFetch((message, body) => send(message as FromSandbox, body));
}

const value = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
  tunnel ??= openTunnel();
  return (await tunnel).fetch(input, init);
};
Object.defineProperty(globalThis, "fetch", { value, writable: true, configurable: true });

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function isZod(parameters: unknown): parameters is z.ZodObject {
  return typeof parameters === "object" && parameters !== null && "_zod" in parameters;
}

let check: z.ZodType | undefined;

/** The full check of a tool's arguments. The executor's own check leaves out regular expressions. */
function checkOf(tool: Tool): z.ZodType {
  check ??= isZod(tool.parameters)
    ? tool.parameters
    : z.fromJSONSchema(tool.parameters as Parameters<typeof z.fromJSONSchema>[0]);
  return check;
}

async function load(file: string): Promise<Tool | undefined> {
  try {
    const module: { default?: unknown } = await import(pathToFileURL(file).href);
    if (module.default === undefined) {
      send({ type: "fault", fault: "has no default export" });
      return undefined;
    }
    const shape = toolShape.safeParse(module.default);
    if (!shape.success) {
      const fault = shape.error.issues.map(({ path, message }) => `${path.join(".") || "tool"}: ${message}`).join("; ");
      send({ type: "fault", fault });
      return undefined;
    }
    const tool = module.default as Tool;
    checkOf(tool);
    const { $schema, ...parameters } = isZod(tool.parameters)
      ? z.toJSONSchema(tool.parameters, { io: "input" })
      : (tool.parameters as { $schema?: unknown });
    send({
      type: "loaded",
      tool: {
        name: tool.name,
        description: tool.description,
        parameters: parameters as JsonSchema,
        effect: tool.effect,
        requiresApproval: tool.requiresApproval === true,
        timeoutMs: tool.timeoutMs,
        version: tool.version,
        hasProbe: tool.probe !== undefined,
        hosts: [...(tool.hosts ?? [])],
      },
    });
    return tool;
  } catch (error) {
    send({ type: "fault", fault: messageOf(error) });
    return undefined;
  }
}

/** The logger of a tool: a few short lines, which the executor writes. */
function limitedLogger() {
  let left = maxLogs;
  const write = (level: "info" | "warn" | "error") => (first: unknown, second?: unknown) => {
    if (left-- <= 0) return;
    const message = typeof first === "string" ? first : typeof second === "string" ? second : stringify(first);
    send({ type: "log", level, message: String(message).slice(0, maxLogLength) });
  };
  const [info, warn, error] = [write("info"), write("warn"), write("error")];
  const logger = { trace() {}, debug() {}, info, warn, error, fatal: error, child: () => logger };
  return logger;
}

async function run(tool: Tool, call: Extract<ToSandbox, { type: "call" }>, signal: AbortSignal): Promise<void> {
  const { id, method, callKey } = call;
  try {
    const parsed = await checkOf(tool).safeParseAsync(call.arguments, { reportInput: false });
    if (!parsed.success) {
      const issue = parsed.error.issues[0];
      const param = issue?.path.map(String).join(".") || "function.arguments";
      send({ type: "failed", id, message: `${param}: ${issue?.message ?? "is not valid"}`, param });
      return;
    }
    const context = { signal, logger: limitedLogger() as never, callKey };
    const output = await tool[method]?.(parsed.data as never, context);
    send({ type: "output", id, output: output ?? null });
  } catch (error) {
    send({ type: "failed", id, message: messageOf(error) });
  }
}

function take(message: ToSandbox, body: Buffer | undefined): void {
  switch (message.type) {
    case "call": {
      if (tool === undefined) return;
      const controller = new AbortController();
      running.set(message.id, controller);
      void run(tool, message, controller.signal).finally(() => running.delete(message.id));
      return;
    }
    case "abort":
      running.get(message.id)?.abort();
      return;
    case "response":
      void tunnel?.then(({ settle }) => settle(message.id, { ...message, body: Buffer.from(body ?? []) }));
      return;
    case "fetch-failed":
      void tunnel?.then(({ refuse }) => refuse(message.id, message.message));
      return;
    default:
      message satisfies never;
  }
}

const [file = ""] = process.argv.slice(2);
let tool: Tool | undefined;
const running = new Map<number, AbortController>();
const reader = new FrameReader(maxFrameBytes);
process.stdin.on("data", (piece: Buffer) => {
  for (const frame of reader.push(piece)) take(frame.message as ToSandbox, frame.body);
});
// The executor has ended, or has closed this process's input to end it.
process.stdin.on("end", () => process.exit(0));
tool = await load(file);
