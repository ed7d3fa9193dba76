import { expect, test } from "vitest";
import type { ApiKey } from "../../api/types.ts";
import { allowedText, descendantsOf, keyTree, limitsText, stateOf } from "./key-tree.ts";

const key = (id: string, parent_id = "", more: Partial<ApiKey> = {}) =>
  ({ id, parent_id, is_revoked: false, expires_at: null, ...more }) as ApiKey;

test("keys stand below the keys that created them, in the order of the list", () => {
  const keys = [key("d", "b"), key("c"), key("b", "a"), key("a"), key("e", "gone")];
  expect(keyTree(keys).map(({ key: { id }, depth }) => `${depth}${id}`)).toEqual(["0c", "0a", "1b", "2d", "0e"]);
  expect(descendantsOf(keys, "a").map(({ id }) => id)).toEqual(["b", "d"]);
});

test("keys that name each other as creators end the walk", () => {
  const keys = [key("a", "b"), key("b", "a")];
  expect(keyTree(keys)).toEqual([]);
  expect(descendantsOf(keys, "a").length).toBeLessThanOrEqual(2);
});

test("a key is active, expired or revoked", () => {
  const now = new Date("2026-06-01T00:00:00Z");
  expect(stateOf(key("a"), now)).toBe("active");
  expect(stateOf(key("a", "", { expires_at: "2026-05-31T00:00:00Z" }), now)).toBe("expired");
  expect(stateOf(key("a", "", { is_revoked: true, expires_at: "2026-05-31T00:00:00Z" }), now)).toBe("revoked");
});

test("limits and rights are told in words", () => {
  expect(limitsText({ rate_limit_per_minute: 60, rate_limit_per_day: 0, max_concurrent: 5 } as ApiKey)).toBe(
    "60/min · 5 at once",
  );
  expect(limitsText({ rate_limit_per_minute: 0, rate_limit_per_day: 0, max_concurrent: 0 } as ApiKey)).toBe("no limits");
  expect(allowedText([], "tool")).toBe("every tool");
  expect(allowedText(["*"], "tool")).toBe("every tool");
  expect(allowedText(["a"], "model")).toBe("1 model");
  expect(allowedText(["a", "b"], "model")).toBe("2 models");
});
