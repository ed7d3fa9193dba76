import { afterEach, describe, expect, test, vi } from "vitest";
import { meshSecret } from "../../testing/plane.ts";
import { type GrantClaims, hashArguments, signGrant, verifyGrant } from "./grant.ts";
import { createServiceTokenSource } from "./service-token.ts";

afterEach(() => {
  vi.useRealTimers();
});

const claims: GrantClaims = {
  runId: "0190a000-0000-7000-8000-0000000000b0",
  epoch: 2,
  callId: "call_1",
  tool: "http_request",
  toolVersion: "1",
  argumentsHash: hashArguments('{"url":"https://example.com"}'),
};

describe("grants", () => {
  test("hold for exactly the approved call, until they end", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const grant = await signGrant(meshSecret, claims, 900);
    expect(await verifyGrant(meshSecret, grant, claims)).toBe(true);
    for (const field of Object.keys(claims) as (keyof GrantClaims)[]) {
      expect(await verifyGrant(meshSecret, grant, { ...claims, [field]: "another" }), field).toBe(false);
    }
    expect(await verifyGrant("another-secret-of-32-characters-here", grant, claims)).toBe(false);
    expect(await verifyGrant(meshSecret, await createServiceTokenSource(meshSecret, claims.runId)(), claims)).toBe(false);
    vi.setSystemTime(Date.now() + 1_231_000);
    expect(await verifyGrant(meshSecret, grant, claims)).toBe(false);
  });
});
