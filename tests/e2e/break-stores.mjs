/**
 * Loaded into a process before its own code: while the file named by BROKEN_STORES has a word in it, every statement
 * and every new connection fails in that way. Intervals are at most 200 ms long, so that each of them meets the
 * failure.
 */
import { readFileSync } from "node:fs";
import pg from "pg";

const ways = {
  throws: () => {
    throw new TypeError("the store is broken");
  },
  rejects: () => Promise.reject(new TypeError("the store is broken")),
  "rejects with nothing": () => Promise.reject(undefined),
  "answers with nonsense": () => Promise.resolve({}),
};

function breakable(original) {
  return function (...args) {
    const way = ways[readFileSync(process.env.BROKEN_STORES, "utf8")];
    return way === undefined ? original.apply(this, args) : way();
  };
}

for (const name of ["query", "connect"]) {
  pg.Pool.prototype[name] = breakable(pg.Pool.prototype[name]);
}
pg.Client.prototype.query = breakable(pg.Client.prototype.query);

const original = globalThis.setInterval;
globalThis.setInterval = (callback, ms, ...args) => original(callback, Math.min(ms ?? 0, 200), ...args);
