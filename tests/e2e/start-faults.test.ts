import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { testedEnvironment } from "../tested-environment.ts";

const root = join(import.meta.dirname, "../..");
const dir = mkdtempSync(join(tmpdir(), "turnwright-start-"));
const holder = createServer();
let taken = 0;

beforeAll(async () => {
  await once(holder.listen(0, "127.0.0.1"), "listening");
  taken = (holder.address() as AddressInfo).port;
  writeFileSync(join(dir, "file"), "");
});
afterAll(() => {
  holder.close();
  rmSync(dir, { recursive: true, force: true });
});

/** Runs a starter that must fail. */
async function failedStart(script: string, env: Record<string, string>) {
  const child = spawn(process.execPath, [join(root, script)], {
    env: {
      ...testedEnvironment(),
      PATH: process.env.PATH ?? "",
      SERVER_HOST: "127.0.0.1",
      TURNWRIGHT_DATA_DIR: join(dir, "data"),
      ...env,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
  return { code: child.exitCode, out, err };
}

describe("a start that cannot succeed", () => {
  test("because another program has the port says so before it makes a database", async () => {
    expect(await failedStart("launcher/src/main.ts", { SERVER_PORT: String(taken) })).toEqual({
      code: 1,
      out: "",
      err: `Configuration faults:\n  - SERVER_PORT: another process has port ${taken}; end it or set another port\n`,
    });
    expect(readdirSync(join(dir, "data"))).toEqual(["mesh.secret"]);
  });

  test("because of variables names all of them, those of every part of a mesh too", async () => {
    const env = {
      SERVER_PORT: "many",
      JWT_ACCESS_TTL: "soon",
      APPROVAL_EXPIRY: "never",
      TOOLS_DIR: join(dir, "file"),
      LLM_BASE_URL: "ftp://x",
      DB_ROLE_PREFIX: "With Space",
      RATE_LIMIT_PER_DAY: "-1",
    };
    for (const script of ["launcher/src/main.ts", "launcher/src/mesh-main.ts"]) {
      const dataDir = join(dir, "never made");
      const { code, out, err } = await failedStart(script, { ...env, TURNWRIGHT_DATA_DIR: dataDir });
      expect(existsSync(dataDir)).toBe(false);
      expect({ script, code, out }).toEqual({ script, code: 1, out: "" });
      const lines = err.trimEnd().split("\n");
      expect(lines[0]).toBe("Configuration faults:");
      const named = lines.slice(1).map((line) => /^ {2}- ([A-Z_]+): /.exec(line)?.[1]);
      expect(err).toContain(`TOOLS_DIR: ${join(dir, "file")} is no folder that can be read`);
      expect(named.sort()).toEqual(Object.keys(env).sort());
    }
  });

  test("because the database refuses it ends at once, with one sentence", async () => {
    // PostgreSQL's message ErrorResponse, with severity, code and text.
    const body = Buffer.from("SFATAL\0C28P01\0Mno\0\0");
    const refusal = Buffer.concat([Buffer.from([0x45, 0, 0, 0, body.length + 4]), body]);
    const refusing = createServer((socket) => socket.end(refusal)).listen(0, "127.0.0.1");
    await once(refusing, "listening");
    const { port } = refusing.address() as AddressInfo;
    const env = { DB_HOST: "127.0.0.1", DB_PORT: String(port), SERVER_PORT: "0" };
    expect(await failedStart("launcher/src/main.ts", env)).toEqual({
      code: 1,
      out: "",
      err:
        `Configuration faults:\n  - DB_USER, DB_PASSWORD: PostgreSQL at 127.0.0.1:${port} refused the login postgres: ` +
        "wrong password or no such login\n",
    });
    refusing.close();
  });
});

describe("npm start", () => {
  const { faultOf } = createRequire(import.meta.url)(join(root, "launcher/prepared.cjs")) as {
    faultOf: (version: string, root: string) => string | undefined;
  };

  test("before npm ci, or under an old Node.js, fails with one sentence", async () => {
    expect(faultOf("24.0.0", root)).toBeUndefined();
    expect(faultOf("20.20.2", root)).toMatch(/^Turnwright needs Node\.js 24 or newer and this is 20\.20\.2: run npm ci/);
    const bare = join(dir, "a checkout");
    mkdirSync(join(bare, "launcher"), { recursive: true });
    cpSync(join(root, "launcher/prepared.cjs"), join(bare, "launcher/prepared.cjs"));
    const child = spawn(process.execPath, ["launcher/prepared.cjs"], { cwd: bare, stdio: ["ignore", "ignore", "pipe"] });
    const [err] = await Promise.all([text(child.stderr), once(child, "close")]);
    expect({ code: child.exitCode, err }).toEqual({
      code: 1,
      err: `Turnwright's packages are not installed: run npm ci first, in ${bare}\n`,
    });
  });

  test("looks for them first, as do the other scripts that run TypeScript for users", () => {
    const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { scripts: Record<string, string> };
    const starters = Object.keys(scripts).filter((name) => /^start|^test$|^migrate:up$|^db:/.test(name));
    expect(starters.length).toBeGreaterThan(8);
    for (const name of starters) expect([name, scripts[`pre${name}`]]).toEqual([name, "node launcher/prepared.cjs"]);
  });
});
