import { describe, expect, test } from "vitest";
import { TokenCache } from "./token-cache.ts";

describe("the token cache", () => {
  test("remembers a value until its token ends", () => {
    const cache = new TokenCache<string>();
    cache.set("token", "value", 1_000);
    expect(cache.get("token", 999)).toBe("value");
    expect(cache.get("other", 999)).toBeUndefined();
    expect(cache.get("token", 1_000)).toBeUndefined();
    expect(cache.get("token", 999)).toBeUndefined();
  });

  test("forgets the oldest when it is full", () => {
    const cache = new TokenCache<number>(2);
    for (const [value, token] of ["a", "b", "c"].entries()) cache.set(token, value, 1_000);
    expect(["a", "b", "c"].map((token) => cache.get(token, 0))).toEqual([undefined, 1, 2]);
  });

  test("forgets what matches", () => {
    const cache = new TokenCache<{ user: string }>();
    cache.set("a", { user: "alice" }, 1_000);
    cache.set("b", { user: "bob" }, 1_000);
    cache.deleteWhere(({ user }) => user === "alice");
    expect(cache.get("a", 0)).toBeUndefined();
    expect(cache.get("b", 0)).toEqual({ user: "bob" });
  });
});
