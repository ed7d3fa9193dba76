import { detailOf, ErrorReason } from "@turnwright/platform/errors";
import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { type Release, Shares } from "./shares.ts";

const never = new AbortController().signal;

/** The detail of the refusal that ends a wait. */
async function refusalOf(taken: Release | Promise<Release>) {
  return detailOf(
    await Promise.resolve(taken).then(
      () => expect.fail("it was granted"),
      (error: unknown) => error,
    ),
  );
}

/** Shares of one provider, and a shorthand to take of them. */
function sharesOf(limit: number, options: { waitMs?: number; queueBytes?: number } = {}) {
  const shares = new Shares({ limitOf: () => limit, waitMs: 60_000, ...options });
  const take = (userId: string, more: { model?: string; bytes?: number; signal?: AbortSignal; provider?: string } = {}) =>
    shares.take({ provider: "p", model: "m", bytes: 0, signal: never, userId, ...more });
  const load = () => shares.load()[0];
  return { shares, take, load };
}

/** Takes connections until a call has to wait; returns those taken. */
function takeAll(take: () => Release | Promise<Release>): Release[] {
  const taken: Release[] = [];
  for (;;) {
    const next = take();
    if (next instanceof Promise) {
      next.catch(() => {});
      return taken;
    }
    taken.push(next);
  }
}

describe("the shares of a provider's connections", () => {
  test.each([
    [1, 1],
    [2, 1],
    [4, 3],
    [256, 192],
  ])("of %i connections one user alone takes %i", (limit, most) => {
    const { take } = sharesOf(limit);
    expect(takeAll(() => take("a", { model: crypto.randomUUID() }))).toHaveLength(most);
  });

  test("each further user finds connections free, however many calls the others hang on to", () => {
    const { take } = sharesOf(256);
    const taken = ["a", "b", "c", "d"].map((user) => takeAll(() => take(user, { model: user })).length);
    expect(taken).toEqual([192, 48, 12, 3]);
  });

  test("one model alone leaves connections to the others", () => {
    const { take } = sharesOf(64);
    let user = 0;
    const taken = takeAll(() => take(`user ${user++}`, { model: "hung" }));
    expect(taken).toHaveLength(56);
    expect(take("another", { model: "quick" })).toBeTypeOf("function");
  });

  test("providers do not share connections", () => {
    const { take } = sharesOf(1);
    expect(take("a", { provider: "p" })).toBeTypeOf("function");
    expect(take("a", { provider: "q" })).toBeTypeOf("function");
    expect(take("a", { provider: "p" })).toBeInstanceOf(Promise);
  });

  test("without a limit nobody waits", () => {
    const { take } = sharesOf(Number.POSITIVE_INFINITY);
    for (let count = 0; count < 2_000; count++) expect(take("a")).toBeTypeOf("function");
  });

  test("a free connection goes to the waiting user with the fewest calls in progress, then to the oldest call", async () => {
    const { take } = sharesOf(4);
    const first = [1, 2, 3].map(() => take("a") as Release);
    const other = take("b") as Release;
    const order: string[] = [];
    const waits = (user: string, name: string) =>
      (take(user) as Promise<Release>).then((release) => {
        order.push(name);
        return release;
      });
    const waiting = [waits("a", "a4"), waits("b", "b2"), waits("c", "c1"), waits("d", "d1"), waits("c", "c2")];
    first[0]?.();
    const c1 = await waiting[2];
    first[1]?.();
    const d1 = await waiting[3];
    expect(order).toEqual(["c1", "d1"]);
    for (const release of [...first, other, c1, d1]) release?.();
    await Promise.all(waiting);
    expect(order).toEqual(["c1", "d1", "a4", "b2", "c2"]);
  });

  test("a connection that is given back twice counts once", () => {
    const { take, load } = sharesOf(2);
    const release = take("a") as Release;
    take("b");
    release();
    release();
    expect(load()).toMatchObject({ inProgress: 1 });
  });
});

describe("the wait for a connection", () => {
  test("ends with RATE_LIMITED for a user who has their share, and with MODEL_BUSY for another one", async () => {
    vi.useFakeTimers();
    try {
      const { take, load } = sharesOf(4, { waitMs: 3_000 });
      takeAll(() => take("a"));
      take("b");
      const over = refusalOf(take("a"));
      const other = refusalOf(take("c"));
      await vi.advanceTimersByTimeAsync(2_900);
      expect(load()).toMatchObject({ waiting: 3, oldestWaitMs: 2_900, inProgress: 4, limit: 4 });
      await vi.advanceTimersByTimeAsync(200);
      expect(await over).toMatchObject({ reason: ErrorReason.RATE_LIMITED, retryAfterSeconds: 3 });
      expect(await other).toMatchObject({ reason: ErrorReason.MODEL_BUSY, retryAfterSeconds: 3 });
      expect(load()).toMatchObject({ waiting: 0, oldestWaitMs: 0 });
    } finally {
      vi.useRealTimers();
    }
  });

  test("ends at once when the call is cancelled, before it and while it waits", async () => {
    const { take, load } = sharesOf(1);
    take("a");
    const controller = new AbortController();
    const waiting = take("b", { signal: controller.signal }) as Promise<Release>;
    controller.abort(new Error("left"));
    await expect(waiting).rejects.toThrow("left");
    expect(load()).toMatchObject({ waiting: 0, inProgress: 1 });
    expect(() => take("b", { signal: controller.signal })).toThrow("left");
  });

  test("takes no more memory than it may, and a flood displaces itself", async () => {
    const mebibyte = 1_048_576;
    const { take, load } = sharesOf(1, { queueBytes: 8 * mebibyte });
    take("a");
    const flood = Array.from({ length: 100 }, () => refusalOf(take("flood", { bytes: mebibyte })));
    expect(load()).toMatchObject({ waiting: 7 });
    const quiet = take("quiet", { bytes: mebibyte }) as Promise<Release>;
    quiet.catch(() => {});
    expect(load()).toMatchObject({ waiting: 7 });
    const refused = await Promise.race([flood[6], quiet]);
    expect(refused).toMatchObject({ reason: ErrorReason.MODEL_BUSY });
  });

  test("a queue that does not move is reported", () => {
    const { shares, take } = sharesOf(1, { waitMs: 10 });
    take("a");
    const now = performance.now();
    const clock = vi.spyOn(performance, "now").mockReturnValue(now);
    (take("b") as Promise<Release>).catch(() => {});
    expect(() => shares.check()).not.toThrow();
    clock.mockReturnValue(now + 6_000);
    expect(() => shares.check()).toThrow(/does not move/);
    clock.mockRestore();
    shares.close();
  });
});

test("whatever happens, no connection is lost or given twice, and none stays free for a user without one", async () => {
  const step = fc.record({ user: fc.nat(4), model: fc.nat(2), kind: fc.constantFrom("take", "take", "release", "cancel") });
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 12 }), fc.array(step, { maxLength: 80 }), async (limit, steps) => {
      const { take, load } = sharesOf(limit);
      const held: { user: number; release: Release }[] = [];
      const waiting = new Map<AbortController, number>();
      for (const { user, model, kind } of steps) {
        if (kind === "release") held.shift()?.release();
        else if (kind === "cancel") [...waiting.keys()][0]?.abort(new Error("left"));
        else {
          const controller = new AbortController();
          const taken = take(`u${user}`, { model: `m${model}`, signal: controller.signal });
          if (taken instanceof Promise) {
            waiting.set(controller, user);
            taken
              .then(
                (release) => held.push({ user, release }),
                () => {},
              )
              .finally(() => waiting.delete(controller));
          } else held.push({ user, release: taken });
        }
        for (let turn = 0; turn < 4; turn++) await Promise.resolve();
        const now = load();
        expect(now?.inProgress ?? 0).toBe(held.length);
        expect(now?.waiting ?? 0).toBe(waiting.size);
        expect(held.length).toBeLessThanOrEqual(limit);
        const holders = new Set(held.map(({ user }) => user));
        const waitsWithout = [...waiting.values()].some((user) => !holders.has(user));
        if (limit < 8 && waitsWithout) expect(held).toHaveLength(limit);
      }
      while (held.length > 0) {
        held.shift()?.release();
        for (let turn = 0; turn < 4; turn++) await Promise.resolve();
      }
      expect(load() ?? { inProgress: 0, waiting: 0 }).toMatchObject({ inProgress: 0, waiting: 0 });
    }),
    { numRuns: 200 },
  );
});
