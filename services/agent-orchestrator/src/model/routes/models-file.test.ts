import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConfigError, loadConfig } from "@turnwright/platform/config/env";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { agentConfig } from "../../config.ts";
import { parseModels, readModels } from "./models-file.ts";

const sound = `
providers:
  one:
    base_url: https://one.invalid/openai?api-version=2
    api_key_env: ONE_KEY
    headers: { X-Title: "team \${TEAM}" }
    params: { deny: [seed], rename: { max_tokens: max_completion_tokens } }
    stream_options: false
    timeout: 30s
  two: { base_url: http://127.0.0.1:1/v1 }
models:
  fast: { provider: one, upstream: fast-2024, price: { input: 1, output: 2, cached: 0.1, reasoning: 3 }, fallbacks: [cheap] }
  cheap:
    targets:
      - { provider: one }
      - { provider: two, upstream: mini, weight: 3 }
aliases: { default: fast }
`;
const env = { ONE_KEY: "secret-key", TEAM: "blue" };
const faultsOf = (text: string) => parseModels(text, env).faults;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "turnwright-models-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe("a models file", () => {
  test("is read from YAML or JSON, with the values of its variables", () => {
    const { models } = parseModels(sound, env);
    expect(models?.keys.get("one")).toBe("secret-key");
    expect(models?.headers.get("one")).toEqual({ "x-title": "team blue" });
    expect(models?.providers.one).toMatchObject({ timeout: 30_000, stream_options: false });
    const { keys: _keys, headers: _headers, secrets, ...file } = models ?? {};
    expect(secrets?.get("one")).toEqual(["blue"]);
    const again = parseModels(JSON.stringify({ ...file, providers: { two: { base_url: "http://127.0.0.1:1" } } }), env);
    expect(again.faults?.every((fault) => fault.includes("no provider"))).toBe(true);
    expect(parseModels('{"providers":{"p":{"base_url":"http://h"}},"models":{"m":{"provider":"p"}}}', {}).models).toBeDefined();
  });

  test("of the examples is sound", () => {
    const example = join(import.meta.dirname, "../../../../../examples/models.yaml");
    const read = readModels(example, { OPENAI_API_KEY: "k1", AZURE_OPENAI_KEY: "k2" });
    expect(read.faults).toBeUndefined();
    expect(Object.keys(read.models?.models ?? {})).toEqual(["gpt-4o", "qwen3-32b"]);
    expect(readModels(example, {}).faults).toHaveLength(2);
  });

  test("is refused with all its faults, each with its place", () => {
    const faults = faultsOf(`
providers:
  one: { base_url: ftp://x, api_key_env: NOT_SET, keys: 1 }
  "bad name": { base_url: http://h, params: { deny: [max_tokens, max_completion_tokens, messages] } }
models:
  a: { provider: none, price: { input: -1 }, fallbacks: [a, missing] }
  b: { upstream: x }
  c: { targets: [{ provider: one }, { provider: one }], provider: one, capabilities: [flying] }
aliases: { a: b, x: y, z: x }
default_model: nobody
more: true
`);
    const places = [
      "providers.one.base_url",
      "providers.one",
      "providers.one.api_key_env",
      'providers["bad name"]',
      'providers["bad name"].params.deny[2]',
      'providers["bad name"].params.deny',
      "models.a.provider",
      "models.a.price.input",
      "models.a.price.output",
      "models.a.fallbacks[0]",
      "models.a.fallbacks[1]",
      "models.b",
      "models.c",
      "models.c.targets[1]",
      "models.c.capabilities[0]",
      "aliases.a",
      "aliases.x",
      "aliases.z",
      "default_model",
      "file",
    ];
    expect([...new Set(faults?.map((fault) => fault.split(": ")[0]))].sort()).toEqual([...places].sort());
  });

  test.each([
    ["nothing", ""],
    ["a list", "- 1"],
    ["a text", "hello"],
    ["half of a file", sound.slice(0, 120)],
    ["a key that stands twice", "models: {}\nmodels: {}"],
    ["an alias bomb", `a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c]`],
    ["no models", "providers: {}\nmodels: {}"],
    ["names of prototypes", "providers: {p: {base_url: http://h}}\nmodels: {m: {provider: __proto__, fallbacks: [constructor]}}"],
  ])("that holds %s is refused", (_name, text) => {
    expect(faultsOf(text)?.length).toBeGreaterThan(0);
  });

  test("never shows a key's value in a fault", () => {
    const { faults } = parseModels(sound, { ONE_KEY: "line\nbreak", TEAM: "blue" });
    expect(faults).toEqual([expect.stringContaining("providers.one.api_key_env: the value of ONE_KEY cannot stand in a header")]);
    expect(faults?.join()).not.toContain("break");
  });

  test("ends the start with all its faults, like other faults of the configuration", () => {
    const path = join(folder, "models.yaml");
    writeFileSync(path, "providers: {}\nmodels: { m: { provider: p } }\nx: 1");
    let thrown: unknown;
    try {
      loadConfig(agentConfig, {
        MESH_SECRET: "a-secret-of-the-tests-with-32-characters",
        MODELS_FILE: path,
        LLM_CONNECTIONS: "many",
      });
    } catch (error) {
      thrown = error;
    }
    expect((thrown as ConfigError).faults).toHaveLength(3);
    expect((thrown as Error).message).toContain('MODELS_FILE: models.m.provider: there is no provider "p"; there are: none');
    const missing = readModels(join(folder, "none.yaml"), env);
    expect(missing.faults?.[0]).toContain("cannot be read");
    expect(ConfigError).toBe((thrown as object).constructor);
  });

  test("is read through links, and refused when it is larger than 1 MiB", () => {
    const [path, link] = [join(folder, "data"), join(folder, "models.yaml")];
    writeFileSync(path, sound);
    symlinkSync(path, link);
    expect(readModels(link, env).models).toBeDefined();
    writeFileSync(path, `${sound}#${"x".repeat(1024 * 1024)}`);
    expect(readModels(link, env).faults?.[0]).toContain("larger than 1 MiB");
  });
});
