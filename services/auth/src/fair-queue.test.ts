import { describe, expect, test } from "vitest";
import { FairQueue } from "./fair-queue.ts";

const never = new AbortController().signal;
const refusal = () => new Error("full");

/** A queue whose work ends when the test ends it, and the order in which the work began. */
function observed(size: { running: number; runningOfOne?: number; waiting: number }) {
  const queue = new FairQueue({ runningOfOne: size.running, ...size }, refusal);
  const began: string[] = [];
  const refused: string[] = [];
  const ends: (() => void)[] = [];
  const send = (path: string, signal = never) => {
    const work = () => {
      began.push(path);
      return new Promise<void>((resolve) => ends.push(resolve));
    };
    return queue.run(path.split("/") as [string, ...string[]], signal, work).catch((error: Error) => {
      refused.push(`${path}: ${error.message}`);
    });
  };
  /** Ends the work that began first, so that the next begins. */
  const end = async () => {
    ends.shift()?.();
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { began, refused, send, end };
}

describe("a fair queue", () => {
  test("rotates turns between networks first, then between addresses, then between accounts", async () => {
    const { began, send, end } = observed({ running: 1, waiting: 100 });
    const paths = ["a/1/x", "a/1/x", "a/1/y", "a/2/x", "a/2/x", "b/1/x", "c/1/x", "b/1/x"];
    const all = [send("first/1/x"), ...paths.map((path) => send(path))];
    for (const _ of all) await end();
    await Promise.all(all);
    expect(began).toEqual(["first/1/x", "a/1/x", "b/1/x", "c/1/x", "a/2/x", "b/1/x", "a/1/y", "a/2/x", "a/1/x"]);
  });

  test("keeps one place free of a single network's work, so that another network's begins at once", async () => {
    const { began, send, end } = observed({ running: 3, runningOfOne: 2, waiting: 100 });
    const all = [1, 2, 3, 4].map((i) => send(`a/${i}`));
    expect(began).toEqual(["a/1", "a/2"]);
    all.push(send("b/1"), send("b/2"));
    expect(began.slice(2)).toEqual(["b/1"]);
    await end();
    // The network with less running work takes the places that the other one left.
    expect(began.slice(3)).toEqual(["a/3"]);
    for (const _ of all) await end();
    await Promise.all(all);
    expect(began.slice(4)).toEqual(["b/2", "a/4"]);
    const later = [send("a/5"), send("a/6"), send("a/7")];
    expect(began.slice(6)).toEqual(["a/5", "a/6"]);
    for (const _ of later) await end();
    await Promise.all(later);
  });

  test("refuses the newest item of the client that fills it, never that of a client with fewer items", async () => {
    const { began, refused, send, end } = observed({ running: 1, waiting: 5 });
    const all = [
      send("first/1"),
      ...[1, 2, 3, 4, 5].map((i) => send(`a/${i}`)),
      send("b/1"),
      send("a/6"),
      send("c/1"),
      send("b/2"),
    ];
    await new Promise((resolve) => setImmediate(resolve));
    expect(refused).toEqual(["a/5: full", "a/6: full", "a/4: full", "a/3: full"]);
    for (const _ of all) await end();
    await Promise.all(all);
    expect(began.sort()).toEqual(["a/1", "a/2", "b/1", "b/2", "c/1", "first/1"]);
  });

  test("drops a client that leaves before its turn, and frees its place", async () => {
    const { began, refused, send, end } = observed({ running: 1, waiting: 2 });
    const leaving = new AbortController();
    const all = [send("first"), send("a", leaving.signal), send("b")];
    leaving.abort(new Error("gone"));
    all.push(send("c"));
    for (const _ of all) await end();
    await Promise.all(all);
    expect(began).toEqual(["first", "b", "c"]);
    expect(refused).toEqual(["a: gone"]);
    // All places are free again: as many run at once as before, no more.
    const later = [send("d"), send("e")];
    expect(began.slice(3)).toEqual(["d"]);
    for (const _ of later) await end();
    await Promise.all(later);
  });

  test("continues after work that fails, and does not begin work whose signal has fired", async () => {
    const queue = new FairQueue({ running: 1, runningOfOne: 1, waiting: 1 }, refusal);
    await expect(queue.run(["a"], never, () => Promise.reject(new Error("broken")))).rejects.toThrow("broken");
    await expect(queue.run(["a"], AbortSignal.abort(new Error("gone")), async () => 1)).rejects.toThrow("gone");
    await expect(queue.run(["a"], never, async () => 2)).resolves.toBe(2);
  });
});
