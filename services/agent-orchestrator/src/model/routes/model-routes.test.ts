import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ErrorReason, reasonOf } from "@turnwright/platform/errors";
import { createLogger } from "@turnwright/platform/logger";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { ModelClient } from "../model-client.ts";
import { createReloadableRoutes } from "./model-routes.ts";
import { type Models, parseModels, readModels, stampOf } from "./models-file.ts";
import type { Target } from "./route.ts";
import { watchModels } from "./watch-models.ts";

const logger = createLogger({ service: "test", level: "silent" });
const providers = "providers: { a: { base_url: http://a }, b: { base_url: http://b }, c: { base_url: http://c } }\n";

function modelsIn(text: string): Models {
  const { models, faults } = parseModels(text.startsWith("providers") ? text : providers + text, {});
  if (models === undefined) throw new Error(faults.join("\n"));
  return models;
}

/** Routes over clients that only record whether they are closed. */
function routesOver(text: string, options: { defaultModel?: string; random?: () => number } = {}) {
  const closed: string[] = [];
  const made: string[] = [];
  const makeClient = (name: string) => {
    made.push(name);
    return { close: async () => void closed.push(name) } as Partial<ModelClient> as ModelClient;
  };
  const { defaultModel = "gpt-4o-mini", random } = options;
  const prices = new Map([["one", { input: 1, output: 2 }]]);
  const routes = createReloadableRoutes(modelsIn(text), { defaultModel, connections: 9, prices, makeClient, logger, random });
  return { routes, closed, made };
}

const placeOf = ({ provider, upstream }: Target) => `${provider}/${upstream}`;

describe("routes by a models file", () => {
  const text = `
models:
  one: { provider: a, upstream: one-x, window: 8000, capabilities: [tools], fallbacks: [two, short, one] }
  two: { targets: [{ provider: b, window: 4000 }, { provider: c, upstream: x }], window: 9000, price: { input: 5, output: 6 } }
aliases: { short: two, first: one }
`.replace(", one]", "]");

  test("lead to the model's own targets, then to those of its fallbacks, each place once", () => {
    const { routes } = routesOver(text, { random: () => 0 });
    expect(routes.resolve("one").map(placeOf)).toEqual(["a/one-x", "b/two", "c/x"]);
    expect(routes.resolve("first").map(({ model }) => model)).toEqual(["one", "two", "two"]);
    expect(routes.resolve("short").map(placeOf)).toEqual(["b/two", "c/x"]);
  });

  test("change a body only where the provider's name differs from the one that the body has", () => {
    const { routes } = routesOver(text, { random: () => 0 });
    expect(routes.resolve("two").map(({ rewrite }) => rewrite?.model)).toEqual([undefined, "x"]);
    expect(routes.resolve("short").map(({ rewrite }) => rewrite?.model)).toEqual(["two", "x"]);
    expect(routes.resolve("one").map(({ rewrite }) => rewrite?.model)).toEqual(["one-x", "two", "x"]);
  });

  test("refuse an unknown name as MODEL_NOT_FOUND, names of prototypes included", () => {
    const { routes } = routesOver(text);
    for (const name of ["gpt-4o-mini", "constructor", "__proto__", ""]) {
      let thrown: unknown;
      try {
        routes.resolve(name);
      } catch (error) {
        thrown = error;
      }
      expect(reasonOf(thrown)).toBe(ErrorReason.MODEL_NOT_FOUND);
      expect(routes.windowOf(name)).toBeUndefined();
      expect(routes.capabilitiesOf(name)).toBeUndefined();
    }
  });

  test("know windows, capabilities, prices, the default model and the list", () => {
    const { routes } = routesOver(text);
    expect([routes.windowOf("one"), routes.windowOf("two"), routes.windowOf("short")]).toEqual([8000, 4000, 4000]);
    expect([...(routes.capabilitiesOf("first") ?? [])]).toEqual(["tools"]);
    expect(routes.resolve("one").map(({ price }) => price?.input)).toEqual([1, 5, 5]);
    expect(routes.defaultModel).toBe("one");
    expect(routesOver(text, { defaultModel: "short" }).routes.defaultModel).toBe("short");
    expect(routesOver(`${text}default_model: two`, { defaultModel: "short" }).routes.defaultModel).toBe("two");
    expect(routes.list()).toEqual([
      { id: "one", provider: "a" },
      { id: "two", provider: "b" },
      { id: "short", provider: "b" },
      { id: "first", provider: "a" },
    ]);
  });

  test("share calls by weight, and send none first to a target of weight 0", () => {
    let seed = 1;
    const random = () => {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
      return seed / 2_147_483_648;
    };
    const { routes } = routesOver(
      "models: { m: { targets: [{ provider: a, weight: 3 }, { provider: b }, { provider: c, weight: 0 }] } }",
      { random },
    );
    const firsts = { a: 0, b: 0, c: 0 };
    for (let i = 0; i < 4_000; i++) {
      const order = routes.resolve("m").map(({ provider }) => provider as "a" | "b" | "c");
      firsts[order[0] as "a" | "b" | "c"] += 1;
      expect([order.length, order[2]]).toEqual([3, "c"]);
    }
    expect(firsts.c).toBe(0);
    expect(Math.abs(firsts.a / 4_000 - 0.75)).toBeLessThan(0.03);
  });
});

describe("a reload", () => {
  test("keeps the connections of unchanged providers, and closes those of dropped ones after their last call", async () => {
    const { routes, closed, made } = routesOver("models: { m: { provider: a }, n: { provider: b } }");
    expect(made).toEqual(["a", "b", "c"]);
    const inFlight = routes.open("n");
    routes.take({ models: modelsIn("providers: { a: { base_url: http://a } }\nmodels: { m: { provider: a } }") });
    expect(made).toHaveLength(3);
    expect(closed).toEqual([]);
    expect(() => routes.resolve("n")).toThrow();
    inFlight.release();
    expect(closed.sort()).toEqual(["b", "c"]);
    await routes.close();
    expect(closed.sort()).toEqual(["a", "b", "c"]);
  });

  test("leaves everything as it is when the new file has faults", () => {
    const { routes, closed } = routesOver("models: { m: { provider: a } }");
    const error = vi.spyOn(logger, "error");
    routes.take({ faults: ["models.m.provider: bad", "models.n: bad"] });
    expect(routes.resolve("m").map(placeOf)).toEqual(["a/m"]);
    expect(closed).toEqual([]);
    expect(error).toHaveBeenCalledWith({ faults: ["models.m.provider: bad", "models.n: bad"] }, expect.any(String));
    error.mockRestore();
  });

  test("keeps the breakers of providers that stay", () => {
    const { routes } = routesOver("models: { m: { provider: a } }");
    for (let i = 0; i < 5; i++) routes.resolve("m")[0]?.breaker.admit()?.failed(new Error());
    routes.take({ models: modelsIn("models: { m: { provider: a }, n: { provider: b } }") });
    expect(routes.breakers()).toMatchObject([{ provider: "a", model: "m", state: "open" }]);
    expect(routes.resolve("m")[0]?.breaker.state).toBe("open");
  });
});

describe("a watched models file", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "turnwright-watch-"));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));
  const version = (name: string) => `${providers}models: { ${name}: { provider: a } }\n`;

  function watched(path: string) {
    const taken: string[] = [];
    const source = { path, env: {}, stamp: stampOf(path), models: readModels(path, {}).models as Models };
    const take = (read: ReturnType<typeof readModels>) =>
      void taken.push(read.faults === undefined ? Object.keys(read.models.models).join() : "faults");
    return { taken, stop: watchModels({ source, take, logger, everyMs: 10 }) };
  }

  test("is read again when it is written, replaced, or mounted anew through a link", async () => {
    // As a ConfigMap is mounted: the file is a link through a link to a folder that changes.
    for (const [name, at] of [
      ["v1", "one"],
      ["v2", "two"],
    ] as const) {
      mkdirSync(join(folder, name));
      writeFileSync(join(folder, name, "models.yaml"), version(at));
    }
    symlinkSync("v1", join(folder, "..data"));
    symlinkSync(join("..data", "models.yaml"), join(folder, "models.yaml"));
    const { taken, stop } = watched(join(folder, "models.yaml"));
    symlinkSync("v2", join(folder, "..new"));
    renameSync(join(folder, "..new"), join(folder, "..data"));
    await expect.poll(() => taken, { timeout: 5_000 }).toEqual(["two"]);
    writeFileSync(join(folder, "v2", "models.yaml"), version("three"));
    await expect.poll(() => taken, { timeout: 5_000 }).toEqual(["two", "three"]);
    writeFileSync(join(folder, "v2", "models.yaml"), "models: [");
    await expect.poll(() => taken, { timeout: 5_000 }).toEqual(["two", "three", "faults"]);
    stop();
  });

  test("that is missing for a while counts as unchanged", async () => {
    const path = join(folder, "models.yaml");
    writeFileSync(path, version("one"));
    const { taken, stop } = watched(path);
    rmSync(path);
    writeFileSync(join(folder, "later"), version("two"));
    expect(taken).toEqual([]);
    renameSync(join(folder, "later"), path);
    await expect.poll(() => taken, { timeout: 5_000 }).toEqual(["two"]);
    stop();
  });
});
