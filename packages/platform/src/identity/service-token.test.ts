import { afterEach, describe, expect, test, vi } from "vitest";
import { meshSecret } from "../../testing/plane.ts";
import { claims, reason } from "../../testing/tokens.ts";
import { ErrorReason, reasonOf } from "../errors.ts";
import { signGrant } from "./grant.ts";
import { createServiceTokenSource, createServiceTokenVerifier } from "./service-token.ts";

afterEach(() => {
  vi.useRealTimers();
});

describe("service tokens", () => {
  test("name their service, are signed once and renewed after half of their life", async () => {
    vi.useFakeTimers({ toFake: ["Date", "performance"] });
    const source = createServiceTokenSource(meshSecret, "gateway");
    const verifier = createServiceTokenVerifier(meshSecret);
    const [first, same] = await Promise.all([source(), source()]);
    expect(same).toBe(first);
    expect(await verifier.verify(first)).toBe("gateway");
    expect(verifier.cached(first)).toBe("gateway");
    vi.advanceTimersByTime(299_000);
    expect(source()).toBe(first);
    vi.advanceTimersByTime(2_000);
    const second = await source();
    expect(second).not.toBe(first);
    expect(await verifier.verify(second)).toBe("gateway");
    expect(verifier.cached(first)).toBe("gateway");
    vi.advanceTimersByTime(640_000);
    expect(verifier.cached(first)).toBeUndefined();
    expect(verifier.cached(second)).toBe("gateway");
    expect(await reason(verifier.verify(first))).toBe(ErrorReason.CLOCK_SKEW);
  });

  test.each([
    [300_000, -300_000],
    [-300_000, 300_000],
    [300_000, 0],
    [0, -300_000],
  ])("hold for all their use between clocks of %i ms and %i ms", async (ofCaller, ofCallee) => {
    const now = Date.now();
    vi.useFakeTimers({ toFake: ["Date", "performance"] });
    vi.setSystemTime(now + ofCaller);
    const token = await createServiceTokenSource(meshSecret, "gateway")();
    const verifier = createServiceTokenVerifier(meshSecret);
    vi.setSystemTime(now + ofCallee + 300_000);
    expect(await verifier.verify(token)).toBe("gateway");
    expect(verifier.cached(token)).toBe("gateway");
  });

  test.each([3_600_000, -3_600_000])("are renewed at once when the clock is set by %i ms", async (stepMs) => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const source = createServiceTokenSource(meshSecret, "gateway");
    const before = await source();
    vi.setSystemTime(Date.now() + stepMs);
    expect(await source()).not.toBe(before);
  });

  test("of a clock that is an hour behind are no bad credentials, and the error says why", async () => {
    const now = Date.now();
    vi.useFakeTimers({ toFake: ["Date"], now: now - 3_600_000 });
    const token = await createServiceTokenSource(meshSecret, "gateway")();
    vi.setSystemTime(now);
    const error = await createServiceTokenVerifier(meshSecret)
      .verify(token)
      .catch((caught: unknown) => caught);
    expect(reasonOf(error)).toBe(ErrorReason.CLOCK_SKEW);
    expect((error as Error).message).toMatch(/A token of gateway expired 300\d s ago by this part's clock/);
  });

  test("with another secret or of another kind are refused", async () => {
    const { verify } = createServiceTokenVerifier(meshSecret);
    const other = await createServiceTokenSource("another-secret-of-32-characters-here", "gateway")();
    const grant = await signGrant(meshSecret, { ...claims, runId: "gateway" });
    for (const token of [other, grant, "garbage"]) expect(await reason(verify(token))).toBe(ErrorReason.INVALID_TOKEN);
  });
});
