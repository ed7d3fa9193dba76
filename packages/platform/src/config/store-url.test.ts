import { describe, expect, test } from "vitest";
import { encodedStoreUrl } from "./store-url.ts";

const signs = [
  "/",
  "#",
  "?",
  "@",
  ":",
  "%",
  "//",
  "a/b@c",
  "p?x=1",
  "%zz",
  "@/x",
  "a:b@c:d",
  "é ü",
  "=&+",
  "[",
  "]",
  "[::1]",
  "\\",
];
const places = [
  "host",
  "host:5432",
  "host:5432/db",
  "[::1]:5432/db",
  "host/db?sslmode=require",
  "db.example/x?options=-c%20a%3Db",
];

/** The URLs as the drivers of the stores read them. */
function read(text: string): { user: string; password: string; rest: string } {
  const url = new URL(text);
  const rest = `${url.host}${url.pathname}${url.search}`;
  return { user: decodeURIComponent(url.username), password: decodeURIComponent(url.password), rest };
}

describe("a store's URL", () => {
  test.each(places)("keeps every password before %s, encoded or as it is", (place) => {
    const { rest } = read(`postgres://u:p@${place}`);
    for (const sign of signs) {
      for (const password of [sign, `${sign}x`, `x${sign}`, `a${sign}b${sign}`]) {
        const wanted = { user: "u", password, rest };
        expect(read(encodedStoreUrl(`postgres://u:${encodeURIComponent(password)}@${place}`))).toEqual(wanted);
        expect(read(encodedStoreUrl(`postgres://u:${password}@${place}`))).toEqual(wanted);
      }
    }
  });

  test.each([
    "postgres://u:p@db:5432/aiagent?sslmode=require",
    "postgres://u:p@db/x?options=-c%20search_path%3Da&user=a@b",
    "postgres://db/x",
    "postgres://u@db/x",
    "redis://:secret@cache:6379/0",
    "rediss://cache",
    "/var/run/postgresql database",
    "socket://u:p@/var/run?db=x",
  ])("that is well formed stays as it is: %s", (text) => {
    expect(encodedStoreUrl(text)).toBe(text);
  });

  test("has credentials without a user name", () => {
    expect(encodedStoreUrl("redis://:a/b#c@cache:6379/0")).toBe("redis://:a%2Fb%23c@cache:6379/0");
  });
});
