import { describe, expect, test } from "vitest";
import { Breaker, failuresToOpen } from "./breaker.ts";
import { Breakers } from "./breakers.ts";

/** A breaker with a clock of its own and pauses without jitter. */
function clocked() {
  let now = 0;
  const breaker = new Breaker({ now: () => now, random: () => 0.5 });
  const fail = () => breaker.admit()?.failed(new Error("away"));
  return { breaker, fail, pass: (ms: number) => (now += ms), openIt: () => Array.from({ length: failuresToOpen }, fail) };
}

describe("a breaker", () => {
  test("opens after five failures in a row, and any success between them starts the count anew", () => {
    const { breaker, fail } = clocked();
    for (let i = 0; i < 4; i++) fail();
    breaker.admit()?.succeeded();
    for (let i = 0; i < 4; i++) fail();
    expect(breaker).toMatchObject({ state: "closed", failures: 4 });
    fail();
    expect(breaker).toMatchObject({ state: "open", failures: 5, retryInMs: 2_000 });
    expect(breaker.admit()).toBeUndefined();
    expect(breaker.lastFailure).toEqual(new Error("away"));
  });

  test("lets one probe pass after the pause, whatever the number of callers, and closes when it gets an answer", () => {
    const { breaker, pass, openIt } = clocked();
    openIt();
    pass(1_999);
    expect(breaker.admit()).toBeUndefined();
    pass(1);
    const admitted = Array.from({ length: 10 }, () => breaker.admit()).filter((admission) => admission !== undefined);
    expect(admitted).toHaveLength(1);
    expect(breaker.state).toBe("half_open");
    admitted[0]?.succeeded();
    expect(breaker).toMatchObject({ state: "closed", failures: 0, lastFailure: undefined });
  });

  test("doubles its pause with each failed probe, up to a minute", () => {
    const { breaker, fail, pass, openIt } = clocked();
    openIt();
    const curve: string[] = [];
    let seconds = 0;
    for (let i = 0; i < 8; i++) {
      const pauseMs = breaker.retryInMs;
      seconds += pauseMs / 1_000;
      curve.push(`${seconds} s: probe after ${pauseMs / 1_000} s`);
      pass(pauseMs);
      fail();
    }
    process.stdout.write(`breaker's curve: ${curve.join("; ")}\n`);
    expect(curve.map((line) => line.split("after ")[1])).toEqual(["2 s", "4 s", "8 s", "16 s", "32 s", "60 s", "60 s", "60 s"]);
    pass(60_000);
    breaker.admit()?.succeeded();
    openIt();
    expect(breaker.retryInMs).toBe(2_000);
  });

  test("lets all calls pass once a probe's stream has begun, and opens again when that stream breaks off", () => {
    const { breaker, pass, openIt } = clocked();
    openIt();
    pass(2_000);
    const probe = breaker.admit();
    probe?.began();
    expect(breaker.state).toBe("closed");
    expect(breaker.admit()).toBeDefined();
    probe?.failed(new Error("cut"));
    expect(breaker).toMatchObject({ state: "open", retryInMs: 4_000 });
  });

  test("gives the probe to another call when it was cancelled", () => {
    const { breaker, pass, openIt } = clocked();
    openIt();
    pass(2_000);
    breaker.admit()?.dropped();
    expect(breaker.state).toBe("open");
    expect(breaker.admit()).toBeDefined();
  });

  test("ignores outcomes of calls from before it opened, and second outcomes of one call", () => {
    const { breaker, openIt } = clocked();
    const old = breaker.admit();
    openIt();
    old?.succeeded();
    expect(breaker.state).toBe("open");
    const other = clocked();
    const call = other.breaker.admit();
    for (let i = 0; i < 10; i++) call?.failed(new Error("again"));
    expect(other.breaker.failures).toBe(1);
  });

  test("varies its pause by a quarter", () => {
    for (const [random, pauseMs] of [
      [0, 1_500],
      [1, 2_500],
    ] as const) {
      const breaker = new Breaker({ now: () => 0, random: () => random });
      for (let i = 0; i < failuresToOpen; i++) breaker.admit()?.failed(new Error());
      expect(breaker.retryInMs).toBe(pauseMs);
    }
  });
});

describe("the breakers of a process", () => {
  test("are told apart by provider and model, and list those with failures", () => {
    const breakers = new Breakers();
    for (let i = 0; i < 5; i++) breakers.of("a", "m").admit()?.failed(new Error());
    breakers.of("b", "m").admit()?.failed(new Error());
    breakers.of("a", "n").admit()?.succeeded();
    expect(breakers.snapshot()).toEqual([
      { provider: "a", model: "m", state: "open", failures: 5, retryInMs: expect.any(Number) },
      { provider: "b", model: "m", state: "closed", failures: 1, retryInMs: 0 },
    ]);
    breakers.keep(new Set(["b"]));
    expect(breakers.snapshot()).toHaveLength(1);
  });

  test("are bounded in number: names that clients make up drop each other, not those that fail", () => {
    const breakers = new Breakers();
    for (let i = 0; i < 5; i++) breakers.of("a", "failing").admit()?.failed(new Error());
    for (let i = 0; i < 3_000; i++) breakers.of("a", `made-up-${i}`);
    expect(breakers.of("a", "failing").state).toBe("open");
    const first = breakers.of("a", "made-up-2999");
    expect(breakers.of("a", "made-up-2999")).toBe(first);
  });
});
