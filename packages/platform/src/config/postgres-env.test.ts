import { describe, expect, test } from "vitest";
import { z } from "zod";
import { ConfigError, loadConfig } from "./env.ts";
import { databaseUrl, postgresEnv } from "./postgres-env.ts";

const schema = z.object(postgresEnv);

describe("the database's address", () => {
  test.each([
    [{}, undefined],
    [{ DB_PORT: "5555", DB_USER: "me", DB_PASSWORD: "secret" }, undefined],
    [{ DATABASE_URL: "postgres://a:b@c/d", DB_HOST: "ignored" }, "postgres://a:b@c/d"],
    [{ DB_HOST: "db" }, "postgres://postgres:postgres@db:5432/aiagent"],
    [{ DB_HOST: "db", DB_PASSWORD: "p@ss/w:rd" }, "postgres://postgres:p%40ss%2Fw%3Ard@db:5432/aiagent"],
    [{ DB_HOST: "::1", DB_NAME: "x" }, "postgres://postgres:postgres@[::1]:5432/x"],
    [{ DB_HOST: "/var/run" }, "postgres://postgres:postgres@localhost:5432/aiagent?host=%2Fvar%2Frun"],
    [
      { DB_HOST: "db", DB_SSL_MODE: "require" },
      "postgres://postgres:postgres@db:5432/aiagent?uselibpqcompat=true&sslmode=require",
    ],
    [
      { DB_HOST: "db", DB_SSL_MODE: "verify-ca" },
      "postgres://postgres:postgres@db:5432/aiagent?uselibpqcompat=true&sslmode=verify-full",
    ],
    [{ DB_HOST: "db", DB_NAME: "a@b:c%d e" }, "postgres://postgres:postgres@db:5432/a@b:c%25d%20e"],
    [{ DATABASE_URL: "postgres://u:a/b#c?d@e:f%g@db/x" }, "postgres://u:a%2Fb%23c%3Fd%40e%3Af%25g@db/x"],
  ])("reads %j as %s", (env, url) => {
    expect(databaseUrl(loadConfig(schema, env))).toBe(url);
  });

  test("lists every fault", () => {
    const load = () => loadConfig(schema, { DATABASE_URL: "mysql://x", DB_SSL_MODE: "sometimes", DB_PORT: "99999" });
    expect(load).toThrow(ConfigError);
    expect(load).toThrow(/DATABASE_URL[\s\S]*DB_PORT[\s\S]*DB_SSL_MODE/);
    const files = () =>
      loadConfig(schema, {
        DATABASE_URL: "postgres://u:p@[h/x",
        DB_NAME: "a/b",
        DB_SSL_ROOT_CERT: "/nowhere",
        DB_ROLE_PREFIX: "A",
      });
    expect(files).toThrow(
      /DATABASE_URL: expected postgres:[\s\S]*DB_NAME: expected[\s\S]*DB_SSL_ROOT_CERT: \/nowhere is no PEM file[\s\S]*DB_ROLE_PREFIX: /,
    );
  });
});
