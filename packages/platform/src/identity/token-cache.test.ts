import { describe, expect, test } from "vitest";
import { TokenCache } from "./token-cache.ts";

describe("the token cache", () => {
  test("keeps a value for its lifetime", () => {
    const cache = new TokenCache<string>();
    cache.set("token", "value", 1_000, 0);
    expect(cache.get("token", 999)).toBe("value");
    expect(cache.get("other", 999)).toBeUndefined();
    expect(cache.get("token", 1_000)).toBeUndefined();
    expect(cache.get("token", 999)).toBeUndefined();
  });

  test("tells apart tokens that begin alike (CVE-2026-35030: a cache keyed by the first 20 characters)", () => {
    const cache = new TokenCache<string>();
    const token = "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl";
    cache.set(token, "alice", 1_000, 0);
    for (let length = 0; length < token.length; length++) {
      expect(cache.get(token.slice(0, length), 0)).toBeUndefined();
      expect(cache.get(`${token.slice(0, length)}*${token.slice(length + 1)}`, 0)).toBeUndefined();
    }
    expect(cache.get(`${token} `, 0)).toBeUndefined();
    expect(cache.get(token, 0)).toBe("alice");
  });

  test("evicts the oldest value when it is full", () => {
    const cache = new TokenCache<number>(2);
    for (const [value, token] of ["a", "b", "c"].entries()) cache.set(token, value, 1_000, 0);
    expect(["a", "b", "c"].map((token) => cache.get(token, 0))).toEqual([undefined, 1, 2]);
  });

  test("removes matching values", () => {
    const cache = new TokenCache<{ user: string }>();
    cache.set("a", { user: "alice" }, 1_000, 0);
    cache.set("b", { user: "bob" }, 1_000, 0);
    cache.deleteWhere(({ user }) => user === "alice");
    expect(cache.get("a", 0)).toBeUndefined();
    expect(cache.get("b", 0)).toEqual({ user: "bob" });
  });
});
