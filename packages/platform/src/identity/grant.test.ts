import { afterEach, describe, expect, test, vi } from "vitest";
import { meshSecret } from "../../testing/plane.ts";
import { claims } from "../../testing/tokens.ts";
import { type GrantClaims, signGrant, verifyGrant } from "./grant.ts";
import { createServiceTokenSource } from "./service-token.ts";

afterEach(() => {
  vi.useRealTimers();
});

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
