/**
 * `npm run image-test`: builds both images of the Dockerfile with Docker, or buildah where no Docker answers, and
 * starts the one for all in one process. Prints a line for each check; exits with 1 when one fails. Arguments go to the
 * build (`-- --volume …`), except `--built`, which tests the images of the last build.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { descendants, freePort } from "../e2e/system.ts";

const root = join(import.meta.dirname, "../..");
/** Largest images, unpacked, in bytes. */
const limits = { mesh: 190e6, "all-in-one": 330e6 } as const;
type Target = keyof typeof limits;

function output(program: string, args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: "utf8", maxBuffer: 1e8 });
  if (status !== 0) throw new Error(`${program} ${args.join(" ")}: ${stderr}`);
  return stdout.trim();
}

/** A program that builds and runs images. */
interface Engine {
  build(target: Target, extra: readonly string[]): void;
  /** Bytes of an image, unpacked. */
  size(target: Target): number;
  /** Starts a program as user 1000 with a folder as /data; read-only where the engine can. */
  run(target: Target, options: { data: string; env: Record<string, string> }, command: readonly string[]): ChildProcess;
  /** Sends SIGTERM to the program that `run` started. */
  terminate(child: ChildProcess): void;
  close(): void;
}

const imageOf = (target: Target) => `turnwright-${target}`;
const pairs = (option: string, env: Record<string, string>) =>
  Object.entries(env).flatMap(([name, value]) => [option, `${name}=${value}`]);

function buildWith(program: string, args: readonly string[]): void {
  const { status } = spawnSync(program, args, { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
  if (status !== 0) throw new Error(`${program} could not build the image.`);
}

const docker: Engine = {
  build: (target, extra) => buildWith("docker", ["build", "--target", target, "--tag", imageOf(target), ...extra, "."]),
  size: (target) => Number(output("docker", ["image", "inspect", "--format", "{{.Size}}", imageOf(target)])),
  run(target, { data, env }, command) {
    const bounds = ["--rm", "--init", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--network", "host"];
    const args = ["run", ...bounds, "--volume", `${data}:/data`, ...pairs("--env", env), imageOf(target), ...command];
    return spawn("docker", args, { stdio: ["ignore", "pipe", "pipe"] });
  },
  terminate: (child) => void child.kill("SIGTERM"),
  close() {},
};

function createBuildah(): Engine {
  const containers = new Map<Target, string>();
  const container = (target: Target) => {
    const known = containers.get(target) ?? output("buildah", ["from", "--pull-never", `localhost/${imageOf(target)}`]);
    containers.set(target, known);
    return known;
  };
  return {
    build: (target, extra) =>
      buildWith("buildah", ["build", "--isolation", "chroot", "--target", target, "--tag", imageOf(target), ...extra, "."]),
    size(target) {
      const mounted = output("buildah", ["mount", container(target)]);
      return Number(output("du", ["--summarize", "--bytes", mounted]).split(/\s/)[0]);
    },
    run(target, { data, env }, command) {
      const bounds = ["--isolation", "chroot", "--user", "node", "--volume", `${data}:/data`];
      return spawn("buildah", ["run", ...bounds, ...pairs("--env", env), container(target), "--", ...command], {
        stdio: ["ignore", "pipe", "pipe"],
      });
    },
    // It passes no signals on.
    terminate(child) {
      const isProgram = (pid: number) => /^(?:\S*\/)?node\0/.test(readFileSync(`/proc/${pid}/cmdline`, "utf8"));
      for (const pid of descendants(child.pid ?? 0).filter(isProgram)) process.kill(pid, "SIGTERM");
    },
    close() {
      for (const name of containers.values()) output("buildah", ["rm", name]);
    },
  };
}

function findEngine(): Engine {
  if (spawnSync("docker", ["info"], { stdio: "ignore" }).status === 0) return docker;
  if (spawnSync("buildah", ["--version"], { stdio: "ignore" }).status === 0) return createBuildah();
  throw new Error("Neither a Docker engine nor buildah is here.");
}

async function ended(child: ChildProcess): Promise<{ code: number | null; text: string }> {
  const parts: string[] = [];
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk) => parts.push(String(chunk)));
  const [code] = (await once(child, "close")) as [number | null];
  return { code, text: parts.join("") };
}

/** Prints the files of an image that only development needs. */
const searching = `
  const { readdirSync } = require("node:fs");
  const walk = (dir) => readdirSync(dir, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? walk(dir + "/" + entry.name) : [dir + "/" + entry.name]);
  const foreign = /\\.d\\.[cm]?ts$|\\.map$|\\.test\\.|\\/testing\\/|\\/bin\\/node$/;
  console.log(walk("/app").filter((path) => foreign.test(path)).join("\\n"));`;

const start = ["node", "--max-semi-space-size=8", "launcher/src/main.ts"];
let failures = 0;
function report(check: string, passes: boolean, detail: string): void {
  if (!passes) failures += 1;
  console.log(`${passes ? "ok    " : "FAILED"}  ${check}: ${detail}`);
}

async function ready(url: string): Promise<boolean> {
  const until = Date.now() + 120_000;
  while (Date.now() < until) {
    const answer = await fetch(url, { signal: AbortSignal.timeout(2_000) }).catch(() => undefined);
    if (answer?.ok) return true;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  return false;
}

async function tryImages(engine: Engine, data: string): Promise<void> {
  for (const [target, limit] of Object.entries(limits) as [Target, number][]) {
    const size = engine.size(target);
    report(`size of ${target}`, size <= limit, `${(size / 1e6).toFixed(0)} MB unpacked, at most ${limit / 1e6}`);
    const found = await ended(engine.run(target, { data, env: {} }, ["node", "-e", searching]));
    report(
      `files of development in ${target}`,
      found.code === 0 && found.text.trim() === "",
      found.text.trim().slice(0, 500) || "none",
    );
  }
  const env = { SERVER_HOST: "127.0.0.1", SERVER_PORT: String(await freePort()), TOOLS_SANDBOX: "auto" };
  const first = engine.run("all-in-one", { data, env }, start);
  const end = ended(first);
  report("start", await ready(`http://127.0.0.1:${env.SERVER_PORT}/ready`), `/ready on port ${env.SERVER_PORT}`);
  const health = await ended(engine.run("all-in-one", { data, env }, ["node", "packages/platform/tools/healthcheck.ts"]));
  report("health check follows SERVER_PORT", health.code === 0, `exit ${health.code}`);
  const second = await ended(engine.run("all-in-one", { data, env }, start));
  report("a second container on the volume", second.code === 1 && second.text.includes("is in use by"), second.text.trim());
  const since = Date.now();
  engine.terminate(first);
  const { code } = await end;
  report("SIGTERM in service", code === 0 || code === 143, `exit ${code} after ${Date.now() - since} ms`);
  chmodSync(data, 0o500);
  chownSync(data, 0, 0);
  const refused = await ended(engine.run("all-in-one", { data, env }, start));
  report(
    "/data that cannot be written",
    refused.code === 1 && refused.text.includes("- TURNWRIGHT_DATA_DIR: "),
    refused.text.trim(),
  );
}

const args = process.argv.slice(2);
const engine = findEngine();
const data = mkdtempSync(join(tmpdir(), "turnwright-image-"));
try {
  chownSync(data, 1000, 1000);
  if (!args.includes("--built")) for (const target of Object.keys(limits) as Target[]) engine.build(target, args);
  await tryImages(engine, data);
} finally {
  engine.close();
  rmSync(data, { recursive: true, force: true });
}
process.exitCode = failures === 0 ? 0 : 1;
