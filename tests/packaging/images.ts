/**
 * `npm run image-test`: builds both images of the Dockerfile with Docker, or buildah where no Docker answers, and
 * starts the one for all in one process. Prints a line for each check; exits with 1 when one fails. Arguments go to the
 * build (`-- --volume …`), except `--built`, which tests the images of the last build.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
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
  /** Starts a program under the image's entry point, read-only, as user 1000, with a folder as /data. */
  run(target: Target, options: { data: string; env: Record<string, string> }, command: readonly string[]): ChildProcess;
  /** Sends SIGTERM to the first process of a container, some milliseconds after that has started. */
  terminate(child: ChildProcess, afterMs?: number): Promise<void>;
  close(): void;
}

const imageOf = (target: Target) => `turnwright-${target}`;
const pairs = (option: string, env: Record<string, string>) =>
  Object.entries(env).flatMap(([name, value]) => [option, `${name}=${value}`]);

function buildWith(program: string, args: readonly string[]): void {
  const { status } = spawnSync(program, args, { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
  if (status !== 0) throw new Error(`${program} could not build the image.`);
}

/** Waits until a container runs. */
async function until(started: () => boolean): Promise<void> {
  const limit = Date.now() + 30_000;
  while (!started()) {
    if (Date.now() > limit) throw new Error("A container has not started within 30 s.");
    await delay(5);
  }
}

function createDocker(): Engine {
  const names = new Map<ChildProcess, string>();
  return {
    build: (target, extra) => buildWith("docker", ["build", "--target", target, "--tag", imageOf(target), ...extra, "."]),
    size: (target) => Number(output("docker", ["image", "inspect", "--format", "{{.Size}}", imageOf(target)])),
    run(target, { data, env }, command) {
      const name = `turnwright-image-test-${process.pid}-${names.size}`;
      const bounds = ["--rm", "--name", name, "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--network", "host"];
      const args = ["run", ...bounds, "--volume", `${data}:/data`, ...pairs("--env", env), imageOf(target), ...command];
      const child = spawn("docker", args, { stdio: ["ignore", "pipe", "pipe"] });
      names.set(child, name);
      return child;
    },
    async terminate(child, afterMs = 0) {
      const name = names.get(child) ?? "";
      const asked = ["container", "inspect", "--format", "{{.State.Running}}", name];
      await until(() => spawnSync("docker", asked, { encoding: "utf8" }).stdout.trim() === "true");
      await delay(afterMs);
      output("docker", ["kill", "--signal", "TERM", name]);
    },
    close() {},
  };
}

/** Makes a container of a mounted image: $1 is the image, $2 the folder for /data; then the program. */
const contain = `
  set -e
  image=$1 data=$2
  shift 2
  mount --bind "$image" "$image"
  mkdir -p "$image/proc" "$image/dev" "$image/tmp"
  mount --bind "$data" "$image/data"
  mount -t proc proc "$image/proc"
  mount --rbind /dev "$image/dev"
  mount -t tmpfs tmpfs "$image/tmp"
  mount -o remount,ro,bind "$image"
  exec chroot --userspec=1000:1000 --groups= "$image" /usr/bin/env -i "$@"`;

interface ImageConfig {
  Entrypoint?: string[];
  Env: string[];
}

/** Builds with buildah; runs the images under namespaces of their own, with `unshare`. Needs root. */
function createBuildah(): Engine {
  const containers = new Map<Target, { name: string; mounted: string; config: ImageConfig }>();
  const container = (target: Target) => {
    const known = containers.get(target);
    if (known !== undefined) return known;
    const image = `localhost/${imageOf(target)}`;
    const { OCIv1 } = JSON.parse(output("buildah", ["inspect", "--type", "image", image])) as { OCIv1: { config: ImageConfig } };
    const name = output("buildah", ["from", "--pull-never", image]);
    const made = { name, mounted: output("buildah", ["mount", name]), config: OCIv1.config };
    containers.set(target, made);
    return made;
  };
  return {
    build: (target, extra) =>
      buildWith("buildah", ["build", "--isolation", "chroot", "--target", target, "--tag", imageOf(target), ...extra, "."]),
    size: (target) => Number(output("du", ["--summarize", "--bytes", container(target).mounted]).split(/\s/)[0]),
    run(target, { data, env }, command) {
      const { mounted, config } = container(target);
      const spaces = ["--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child"];
      const variables = [...config.Env, ...Object.entries(env).map(([name, value]) => `${name}=${value}`)];
      const inside = ["/bin/sh", "-c", 'cd /app && exec "$@"', "sh", ...(config.Entrypoint ?? []), ...command];
      return spawn("unshare", [...spaces, "sh", "-c", contain, "sh", mounted, data, ...variables, ...inside], {
        stdio: ["ignore", "pipe", "pipe"],
      });
    },
    async terminate(child, afterMs = 0) {
      const [entry = ""] = container("all-in-one").config.Entrypoint ?? [];
      let first = 0;
      await until(() => {
        first = descendants(child.pid ?? 0)[0] ?? 0;
        return first !== 0 && readFileSync(`/proc/${first}/cmdline`, "utf8").startsWith(`${entry}\0`);
      });
      await delay(afterMs);
      process.kill(first, "SIGTERM");
    },
    close() {
      for (const { name } of containers.values()) output("buildah", ["rm", name]);
    },
  };
}

function findEngine(): Engine {
  if (spawnSync("docker", ["info"], { stdio: "ignore" }).status === 0) return createDocker();
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
/** Milliseconds after the start of the first process. */
const moments = [0, 50, 150, 300, 600, 1_200, 2_500];
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
    await delay(250);
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
  const page = await fetch(`http://127.0.0.1:${env.SERVER_PORT}/console/`).then((answer) => answer.text());
  const script = /src="(\/console\/assets\/main-[^"]+)"/.exec(page)?.[1];
  const served = script === undefined ? undefined : await fetch(`http://127.0.0.1:${env.SERVER_PORT}${script}`);
  report("the console was built into the image", served?.ok === true, script ?? "its page names no script");
  const health = await ended(engine.run("all-in-one", { data, env }, ["node", "packages/platform/tools/healthcheck.ts"]));
  report("health check follows SERVER_PORT", health.code === 0, `exit ${health.code}`);
  // All containers are in one network.
  const beside = { ...env, SERVER_PORT: String(await freePort()) };
  const second = await ended(engine.run("all-in-one", { data, env: beside }, start));
  report("a second container on the volume", second.code === 1 && second.text.includes("is in use by"), second.text.trim());
  const since = Date.now();
  await engine.terminate(first);
  const { code, text } = await end;
  report("SIGTERM in service", code === 0, `exit ${code} after ${Date.now() - since} ms${code === 0 ? "" : `\n${text}`}`);
  for (const afterMs of moments) {
    const child = engine.run("all-in-one", { data, env }, start);
    const ending = ended(child);
    await engine.terminate(child, afterMs);
    const sent = Date.now();
    const stopped = await Promise.race([ending, delay(20_000, undefined, { ref: false })]);
    if (stopped === undefined) child.kill("SIGKILL");
    const isClean = !existsSync(join(data, "postgres/data/postmaster.pid"));
    // 143 from the first process: Node.js had no handler yet, and nothing that had to be closed.
    const passes = isClean && (stopped?.code === 0 || stopped?.code === 143);
    report(`SIGTERM ${afterMs} ms after the start`, passes, `exit ${stopped?.code} after ${Date.now() - sent} ms`);
    await ending;
  }
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
