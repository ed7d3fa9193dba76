import { afterEach, describe, expect, test, vi } from "vitest";
import { meshSecret } from "../../testing/plane.ts";
import { ErrorReason, reasonOf } from "../errors.ts";
import { type GrantClaims, hashArguments, signGrant } from "./grant.ts";
import { createServiceTokenSource, createServiceTokenVerifier } from "./service-token.ts";

afterEach(() => {
  vi.useRealTimers();
});

async function reason(work: Promise<unknown>): Promise<ErrorReason> {
  const outcome = await work.catch((error: unknown) => error);
  if (!(outcome instanceof Error)) throw new Error("The token was accepted.");
  return reasonOf(outcome);
}

const claims: GrantClaims = {
  runId: "0190a000-0000-7000-8000-0000000000b0",
  epoch: 2,
  callId: "call_1",
  tool: "http_request",
  toolVersion: "1",
  argumentsHash: hashArguments('{"url":"https://example.com"}'),
};

describe("service tokens", () => {
  test("name their service, are signed once and renewed a minute before they end", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const source = createServiceTokenSource(meshSecret, "gateway");
    const verifier = createServiceTokenVerifier(meshSecret);
    const [first, same] = await Promise.all([source(), source()]);
    expect(same).toBe(first);
    expect(await verifier.verify(first)).toBe("gateway");
    expect(verifier.cached(first)).toBe("gateway");
    vi.setSystemTime(Date.now() + 239_000);
    expect(source()).toBe(first);
    vi.setSystemTime(Date.now() + 2_000);
    const second = await source();
    expect(second).not.toBe(first);
    expect(await verifier.verify(second)).toBe("gateway");
    expect(verifier.cached(first)).toBe("gateway");
    vi.setSystemTime(Date.now() + 60_000);
    expect(verifier.cached(first)).toBeUndefined();
    expect(verifier.cached(second)).toBe("gateway");
  });

  test("with another secret or of another kind are refused", async () => {
    const { verify } = createServiceTokenVerifier(meshSecret);
    const other = await createServiceTokenSource("another-secret-of-32-characters-here", "gateway")();
    const grant = await signGrant(meshSecret, { ...claims, runId: "gateway" });
    for (const token of [other, grant, "garbage"]) expect(await reason(verify(token))).toBe(ErrorReason.INVALID_TOKEN);
  });
});
