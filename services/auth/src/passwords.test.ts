import { detailOf, ErrorReason, reasonOf } from "@turnwright/platform/errors";
import { describe, expect, test } from "vitest";
import { createPasswords, type PasswordHasher } from "./passwords.ts";

const account = "you@example.com";
const client = { address: "192.0.2.1", account };
const hashOf = ({ hash }: PasswordHasher) => hash("SecurePass123");

describe("passwords", () => {
  test("are argon2id hashes with OWASP's parameters that match their own password only", async () => {
    const passwords = createPasswords();
    await passwords.inTurn(client, async ({ hash, verify }) => {
      const stored = await hash("SecurePass123");
      expect(stored).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
      expect(await verify(stored, "SecurePass123")).toBe(true);
      expect(await verify(stored, "SecurePass124")).toBe(false);
      expect(await verify(undefined, "no account has this password")).toBe(false);
    });
  });

  test("do not block the event loop", async () => {
    const passwords = createPasswords();
    let isOver = false;
    let rounds = 0;
    const count = () => {
      rounds += 1;
      if (!isOver) setImmediate(count);
    };
    count();
    await Promise.all(Array.from({ length: 8 }, () => passwords.inTurn(client, hashOf)));
    isOver = true;
    // On the event loop, each hash would take one iteration.
    expect(rounds).toBeGreaterThan(100);
  });

  test("wait in a bounded queue, and a refused client has cost no hash", async () => {
    const passwords = createPasswords();
    let hashes = 0;
    const turn = async () => {
      await new Promise((resolve) => setImmediate(resolve));
      hashes += 1;
    };
    const answers = await Promise.allSettled(Array.from({ length: 260 }, () => passwords.inTurn(client, turn)));
    const refused = answers.filter((answer) => answer.status === "rejected");
    // One item runs, two hundred wait.
    expect(refused).toHaveLength(59);
    expect(hashes).toBe(201);
    for (const { reason } of refused) {
      expect(reasonOf(reason)).toBe(ErrorReason.RATE_LIMITED);
      expect(detailOf(reason)?.retryAfterSeconds).toBe(2);
    }
    await expect(passwords.inTurn(client, hashOf)).resolves.toBeDefined();
  });
});

describe("the turns", () => {
  /** The work that begins between a client's arrival in a queue filled by others and that client's turn. */
  async function overtaken(
    flood: (i: number) => { address: string; account: string },
    late: { address: string; account: string },
  ) {
    const passwords = createPasswords();
    let hashes = 0;
    let refused = 0;
    const ends: (() => void)[] = [];
    const turn = () => {
      hashes += 1;
      return new Promise<void>((resolve) => ends.push(resolve));
    };
    const flooding = Array.from({ length: 500 }, (_, i) =>
      passwords.inTurn(flood(i), turn).catch(() => {
        refused += 1;
      }),
    );
    const running = hashes;
    let atTurn = -1;
    let isRefused = false;
    const lateTurn = passwords
      .inTurn(late, async () => {
        atTurn = hashes;
      })
      .catch(() => {
        isRefused = true;
      });
    for (let end = ends.shift(); end !== undefined; end = ends.shift()) {
      end();
      await new Promise((resolve) => setImmediate(resolve));
    }
    await Promise.all([...flooding, lateTurn]);
    expect(isRefused).toBe(false);
    // The late client displaces one more item, unless it need not wait.
    expect(refused - (300 - running)).toBeOneOf([0, 1]);
    return atTurn - running;
  }

  test("of a client come at once, no matter how many requests another address has sent", async () => {
    expect(await overtaken(() => client, { address: "192.0.2.2", account })).toBe(0);
  });

  test("of a client come at once or next, no matter which addresses of one IPv6 network the others use", async () => {
    const late = { address: "2001:db8:2::1", account };
    expect(await overtaken((i) => ({ address: `2001:db8:1:${i.toString(16)}::1`, account }), late)).toBeLessThanOrEqual(1);
    expect(await overtaken((i) => ({ address: `2001:db8:2:${i.toString(16)}::1`, account }), client)).toBeLessThanOrEqual(1);
    // Within the same /48, clients from another /56 still take turns with it.
    const near = { address: "2001:db8:1:ff00::1", account };
    expect(await overtaken((i) => ({ address: `2001:db8:1:${(i % 200).toString(16)}::1`, account }), near)).toBeLessThanOrEqual(
      1,
    );
  });

  test("of an account come next, no matter how many requests from the same address name another", async () => {
    expect(await overtaken(() => client, { ...client, account: "other@example.com" })).toBeLessThanOrEqual(1);
  });

  test("of a client that has left are given to no one", async () => {
    const passwords = createPasswords();
    const leaving = new AbortController();
    const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const running = gates.map(({ promise }) => passwords.inTurn(client, () => promise));
    let hashes = 0;
    const left = Array.from({ length: 150 }, () =>
      passwords.inTurn({ ...client, signal: leaving.signal }, async () => {
        hashes += 1;
      }),
    );
    leaving.abort(new Error("gone"));
    const answers = await Promise.allSettled(left);
    expect(answers.every(({ status }) => status === "rejected")).toBe(true);
    for (const { resolve } of gates) resolve();
    await Promise.all(running);
    expect(hashes).toBe(0);
  });
});
