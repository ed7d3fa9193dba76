import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, expect, test, vi } from "vitest";
import { testedEnvironment } from "../tested-environment.ts";
import { descendants, freePort } from "./system.ts";

const root = join(import.meta.dirname, "../..");
const dataDir = mkdtempSync(join(tmpdir(), "turnwright-signals-"));
// Traversable for the user that runs PostgreSQL when the tests run as root.
chmodSync(dataDir, 0o711);
afterAll(() => rmSync(dataDir, { recursive: true, force: true }));

const postgres = join(dataDir, "postgres");
const pidFile = join(postgres, "data/postmaster.pid");
const isMaking = () => existsSync(postgres) && readdirSync(postgres).some((name) => /^new-\w+$/.test(name));

/** Starts the system in one process and sends it SIGTERM at a moment of its start-up. */
async function terminateWhen(moment: () => boolean) {
  const child = spawn(process.execPath, [join(root, "launcher/src/main.ts")], {
    stdio: ["ignore", "ignore", "pipe"],
    env: {
      PATH: process.env.PATH ?? "",
      ...testedEnvironment(),
      SERVER_HOST: "127.0.0.1",
      SERVER_PORT: String(await freePort()),
      TURNWRIGHT_DATA_DIR: dataDir,
    },
  });
  const said: string[] = [];
  child.stderr.on("data", (chunk) => said.push(String(chunk)));
  const exit = once(child, "exit");
  await vi.waitUntil(moment, { timeout: 30_000, interval: 5 });
  const children = descendants(child.pid ?? 0);
  child.kill("SIGTERM");
  const [code, signal] = (await exit) as [number | null, string | null];
  const left = children.filter((pid) => existsSync(join("/proc", String(pid), "exe")));
  return { code, signal, said: said.join(""), children: children.length, left };
}

test("SIGTERM while the database is made and while it starts ends the process in order, with its database", async () => {
  const making = await terminateWhen(isMaking);
  expect(making).toMatchObject({ code: 0, signal: null, said: "" });
  const starting = await terminateWhen(() => existsSync(pidFile));
  expect(starting).toMatchObject({ code: 0, signal: null, said: "", left: [] });
  expect(starting.children).toBeGreaterThan(0);
  // PostgreSQL has shut down by itself: no recovery at the next start.
  expect(existsSync(pidFile)).toBe(false);
  expect(existsSync(join(postgres, "owner.json"))).toBe(false);
}, 60_000);

/**
 * Sends the process SIGTERM when the first file is loaded under a handler, and prints the files of this checkout that
 * were loaded before.
 */
const terminating = `
  const root = "file://" + ${JSON.stringify(`${root}/`)};
  const early = [];
  let isSent = false;
  require("node:module").registerHooks({
    load(url, context, next) {
      if (process.listenerCount("SIGTERM") === 0) {
        if (!url.startsWith("node:")) early.push(decodeURI(url).replace(root, ""));
      } else if (!isSent) {
        isSent = true;
        process.stdout.write(early.join("\\n"));
        process.kill(process.pid, "SIGTERM");
      }
      return next(url, context);
    },
  });`;

const mains = [
  ...["launcher/src/main.ts", "launcher/src/mesh-main.ts", "gateway/src/main.ts", "services/auth/src/main.ts"],
  ...["conversation", "agent-orchestrator", "tool-executor"].map((name) => `services/${name}/src/main.ts`),
];

/** Starts a file with variables that suffice; its stores and other parts do not answer. */
async function terminateEarly(main: string) {
  const address = "127.0.0.1:1";
  const child = spawn(process.execPath, ["--require", join(dataDir, "terminating.cjs"), join(root, main)], {
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      PATH: process.env.PATH ?? "",
      ...testedEnvironment(),
      LOG_LEVEL: "silent",
      MESH_SECRET: "0123456789abcdef0123456789abcdef",
      DATABASE_URL: `postgres://nobody:nothing@${address}/none`,
      REDIS_URL: `redis://${address}`,
      ...{ AUTH_ADDR: address, CONVERSATION_ADDR: address, AGENT_ADDR: address, TOOL_ADDR: address },
      ...{ SERVER_HOST: "127.0.0.1", GRPC_HOST: "127.0.0.1", SERVER_PORT: String(await freePort()), GRPC_PORT: "0" },
      TURNWRIGHT_DATA_DIR: join(dataDir, "never-made"),
    },
  });
  const [loaded, said] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
  const early = loaded.split("\n");
  return { main, early: early.slice(early.indexOf(main)), code: child.exitCode, signal: child.signalCode, said };
}

test("every part and starter handles SIGTERM before it loads anything else", async () => {
  writeFileSync(join(dataDir, "terminating.cjs"), terminating);
  for (const end of await Promise.all(mains.map(terminateEarly))) {
    const early = [end.main, "packages/platform/src/process/termination.ts"];
    expect(end).toEqual({ main: end.main, early, code: 0, signal: null, said: "" });
  }
  expect(existsSync(join(dataDir, "never-made"))).toBe(false);
}, 60_000);
