import { expect, test } from "vitest";
import { attackInside } from "../../testing/ssrf-attack.ts";

test("neither fetch_url nor http_request reaches an internal address, by any notation, redirect or name", async () => {
  const { vectors, hits, accepted, passed } = await attackInside();
  expect(vectors).toBeGreaterThanOrEqual(300);
  expect({ hits, accepted, passed }).toEqual({ hits: [], accepted: [], passed: [] });
}, 60_000);
