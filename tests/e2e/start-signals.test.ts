import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
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
