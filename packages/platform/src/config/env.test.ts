import { describe, expect, test } from "vitest";
import { z } from "zod";
import { ConfigError, duration, flag, httpUrl, integer, list, loadConfig, port, secret } from "./env.ts";

const schema = z.object({
  NAME: z.string({ error: "is required" }),
  PORT: port(8080),
  TIMEOUT: duration("30s"),
  ENABLED: flag(true),
  WORKERS: integer(4, { min: 1, max: 8 }),
  HOSTS: list("a,b"),
  SECRET: secret(),
  URL: httpUrl().optional(),
});

function faultsOf(env: Record<string, string>, more?: Parameters<typeof loadConfig>[2]): readonly string[] {
  try {
    loadConfig(schema, env, more);
  } catch (error) {
    if (error instanceof ConfigError) return error.faults;
    throw error;
  }
  return [];
}

describe("the configuration", () => {
  test("has defaults, and treats an empty variable as unset", () => {
    const defaults = { NAME: "n", PORT: 8080, TIMEOUT: 30_000, ENABLED: true, WORKERS: 4, HOSTS: ["a", "b"] };
    expect(loadConfig(schema, { NAME: "n" })).toEqual(defaults);
    expect(loadConfig(schema, { NAME: "n", PORT: "", TIMEOUT: "", SECRET: "", URL: "" })).toEqual(defaults);
  });

  test("lists all faults at once, including those between variables", () => {
    const faults = faultsOf(
      { PORT: "70000", TIMEOUT: "soon", ENABLED: "maybe", WORKERS: "9", SECRET: "short", URL: "ftp://x" },
      (values) =>
        Object.keys(values)
          .filter((name) => name === "URL")
          .map((name) => `${name}: does not go with PORT`),
    );
    expect(faults.map((fault) => fault.split(":")[0])).toEqual([
      "NAME",
      "PORT",
      "TIMEOUT",
      "ENABLED",
      "WORKERS",
      "SECRET",
      "URL",
      "URL",
    ]);
    expect(faults).toContain('WORKERS: expected a whole number from 1 to 8, got "9"');
    expect(faultsOf({ NAME: "n" }, () => ["A: one", "B: two"])).toEqual(["A: one", "B: two"]);
    expect(new ConfigError(["A: one", "B: two"]).message).toBe("Configuration faults:\n  - A: one\n  - B: two");
  });

  test.each([
    ["250ms", 250],
    ["1.5s", 1_500],
    ["15m", 900_000],
    ["1h30m", 5_400_000],
    ["168h", 604_800_000],
    ["2d", 172_800_000],
  ])("reads the duration %s", (text, milliseconds) => {
    expect(loadConfig(z.object({ T: duration("1s") }), { T: text })).toEqual({ T: milliseconds });
  });

  test.each(["10", "s", "1h 30m", "-5s", "0s", "5 s", "1y"])("refuses the duration %s", (text) => {
    expect(faultsOf({ NAME: "n", TIMEOUT: text })).toHaveLength(1);
  });

  test.each([
    ["yes", true],
    ["ON", true],
    ["1", true],
    ["off", false],
    ["False", false],
    ["0", false],
  ])("reads the switch %s", (text, value) => {
    expect(loadConfig(z.object({ F: flag(!value) }), { F: text })).toEqual({ F: value });
  });

  test.each(["1e3", "4.0", "0x8", "", " "])("reads no whole number from %j beyond its default", (text) => {
    const read = () => loadConfig(z.object({ N: integer(4) }), { N: text });
    if (text === "") expect(read()).toEqual({ N: 4 });
    else expect(read).toThrow(ConfigError);
  });

  test("reads lists without blanks", () => {
    expect(loadConfig(z.object({ L: list() }), { L: " a, ,b ,," })).toEqual({ L: ["a", "b"] });
    expect(loadConfig(z.object({ L: list() }), {})).toEqual({ L: [] });
  });
});
