import variant from "@jitl/quickjs-wasmfile-release-sync";
import {
  newQuickJSWASMModuleFromVariant,
  type QuickJSContext,
  type QuickJSHandle,
  type QuickJSSyncVariant,
} from "quickjs-emscripten-core";
import { defineTool } from "../tool-definition/define-tool.ts";
import { javascriptDefinition } from "./javascript-definition.ts";

/** The script's time limit. It leaves time to report the error before the process is killed. */
const scriptMs = 4_000;
const memoryBytes = 67_108_864;
const stackBytes = 1_048_576;
const maxLogs = 100;
const maxLogLength = 1_000;

/** Sets a global of the script from JSON text. The text is parsed inside, so no host object gets in. */
function put(context: QuickJSContext, name: string, json: string): void {
  const text = context.newString(json);
  context.setProp(context.global, "__json", text);
  text.dispose();
  const value = context.unwrapResult(context.evalCode(`JSON.parse(__json)`));
  context.setProp(context.global, name, value);
  value.dispose();
  context.unwrapResult(context.evalCode("delete globalThis.__json")).dispose();
}

/** Gives the script a console that collects its lines. */
function addConsole(context: QuickJSContext, logs: string[]): void {
  const log = context.newFunction("log", (...values: QuickJSHandle[]) => {
    if (logs.length >= maxLogs) return;
    const line = values.map((value) => {
      const dumped: unknown = context.dump(value);
      return typeof dumped === "string" ? dumped : (JSON.stringify(dumped) ?? String(dumped));
    });
    logs.push(line.join(" ").slice(0, maxLogLength));
  });
  const console = context.newObject();
  for (const name of ["log", "info", "warn", "error"]) context.setProp(console, name, log);
  context.setProp(context.global, "console", console);
  console.dispose();
  log.dispose();
}

/** The script's error, with the script's own message. */
function errorOf(context: QuickJSContext, handle: QuickJSHandle): Error {
  const dumped: unknown = context.dump(handle);
  handle.dispose();
  if (typeof dumped !== "object" || dumped === null) return new Error(String(dumped));
  const { name, message } = dumped as { name?: unknown; message?: unknown };
  return new Error(
    message === "interrupted" ? `The script took longer than ${scriptMs} ms.` : `${name ?? "Error"}: ${message ?? ""}`,
  );
}

/** The part of run_javascript that runs in the sandbox. */
export default defineTool({
  ...javascriptDefinition,
  async execute({ code, input }) {
    // The variant is published as a default export of a default export.
    const quickjs = await newQuickJSWASMModuleFromVariant(variant as unknown as QuickJSSyncVariant);
    const runtime = quickjs.newRuntime();
    runtime.setMemoryLimit(memoryBytes);
    runtime.setMaxStackSize(stackBytes);
    const deadline = Date.now() + scriptMs;
    runtime.setInterruptHandler(() => Date.now() > deadline);
    const context = runtime.newContext();
    const logs: string[] = [];
    try {
      put(context, "input", JSON.stringify(input ?? null));
      addConsole(context, logs);
      const evaluated = context.evalCode(code, "script.js", { type: "global" });
      if (evaluated.error) throw errorOf(context, evaluated.error);
      const jobs = runtime.executePendingJobs();
      if (jobs.error) throw errorOf(context, jobs.error);
      const state = context.getPromiseState(evaluated.value);
      if (state.type === "rejected") throw errorOf(context, state.error);
      if (state.type === "pending") throw new Error("The script ends with a promise that never settles.");
      const value = state.type === "fulfilled" ? state.value : evaluated.value;
      const result: unknown = context.dump(value);
      return { result: JSON.parse(JSON.stringify(result ?? null) ?? "null"), logs };
    } finally {
      // Not disposed: objects that a script left behind may make that fail. The process has limits of memory and time.
      runtime.setInterruptHandler(() => true);
    }
  },
});
