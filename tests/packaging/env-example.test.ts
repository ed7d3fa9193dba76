import { readFileSync } from "node:fs";
import { join } from "node:path";
import { loadConfig } from "@turnwright/platform/config/env";
import { describe, expect, test } from "vitest";
import { configs } from "./variables.ts";

const root = join(import.meta.dirname, "../..");

/** Variables that are read outside of the services' configurations. */
const elsewhere = new Map([
  ["ANTHROPIC_API_KEY", "docker-compose.yml hands it to LiteLLM"],
  ["LITELLM_MASTER_KEY", "docker-compose.yml hands it to LiteLLM"],
  ["POSTGRES_IMAGE", "docker-compose.yml reads it"],
  ["REDIS_IMAGE", "docker-compose.yml reads it"],
  ["LITELLM_IMAGE", "docker-compose.yml reads it"],
]);

const documented = new Map(
  readFileSync(join(root, ".env.example"), "utf8")
    .split("\n")
    .flatMap((line) => {
      const match = /^# ([A-Z][A-Z0-9_]*)=(.*)$/.exec(line);
      return match === null ? [] : [[match[1] as string, match[2] as string] as const];
    }),
);

const required = { MESH_SECRET: "0123456789abcdef0123456789abcdef" };

describe(".env.example", () => {
  test("lists exactly the variables that are read", () => {
    const read = new Set(Object.values(configs).flatMap((config) => Object.keys(config.shape)));
    expect([...read].filter((name) => !documented.has(name))).toEqual([]);
    expect([...documented.keys()].filter((name) => !read.has(name) && !elsewhere.has(name))).toEqual([]);
  });

  test.each(Object.entries(configs))("shows the actual defaults of %s", (_part, config) => {
    const defaults = loadConfig(config, required) as Record<string, unknown>;
    for (const name of Object.keys(config.shape)) {
      const value = documented.get(name) ?? "";
      if (name in required || name === "GRPC_PORT") continue;
      const withDocumented = loadConfig(config, { ...required, [name]: value }) as Record<string, unknown>;
      expect({ [name]: withDocumented[name] }).toEqual({ [name]: defaults[name] });
      if (value === "") expect([undefined, ""].includes(defaults[name] as undefined) || Array.isArray(defaults[name])).toBe(true);
    }
  });

  test("sets no variable, so that a copy of it changes nothing", () => {
    const lines = readFileSync(join(root, ".env.example"), "utf8").split("\n");
    expect(lines.filter((line) => line !== "" && !line.startsWith("#"))).toEqual([]);
  });

  test("documents each default of the seed", () => {
    const seed = {
      SERVER_PORT: "8080",
      SERVER_HOST: "0.0.0.0",
      SERVER_SHUTDOWN_TIMEOUT: "30s",
      DB_PORT: "5432",
      DB_USER: "postgres",
      DB_PASSWORD: "postgres",
      DB_NAME: "aiagent",
      DB_SSL_MODE: "disable",
      DB_MAX_OPEN_CONNS: "25",
      REDIS_PORT: "6379",
      REDIS_DB: "0",
      JWT_ACCESS_TTL: "15m",
      JWT_REFRESH_TTL: "168h",
      RATE_LIMIT_ENABLED: "true",
      RATE_LIMIT_PER_MINUTE: "60",
      RATE_LIMIT_PER_DAY: "10000",
      LLM_DEFAULT_MODEL: "gpt-4o-mini",
      TOOLS_MAX_CONCURRENT: "10",
    };
    expect(Object.fromEntries(Object.keys(seed).map((name) => [name, documented.get(name)]))).toEqual(seed);
  });
});
