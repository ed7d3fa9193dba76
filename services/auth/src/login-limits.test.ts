import { detailOf, ErrorReason, reasonOf } from "@turnwright/platform/errors";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AuthFixture, startAuthFixture } from "../testing/auth.ts";
import { beginLogin } from "./login-limits.ts";

let fixture: AuthFixture;
beforeAll(async () => {
  fixture = await startAuthFixture();
});
afterAll(() => fixture.stop());

describe("logins that succeed", () => {
  test("at the same time, of a few accounts from one address, do not deadlock and leave no failure counted", async () => {
    const round = async (email: string) => {
      for (let login = 0; login < 20; login += 1) {
        const attempt = await beginLogin(fixture.pool, { account: email, address: "192.0.2.7" });
        await attempt.forgive();
      }
    };
    const emails = Array.from({ length: 9 }, (_, index) => `account-${index % 3}@example.com`);
    await Promise.all(emails.map(round));
    const { rows } = await fixture.pool.query("select sum(failures)::int as failures from login_attempts");
    expect(rows).toEqual([{ failures: 0 }]);
  });
});

/** The number of failed attempts, of those sent at once, that reach the password. */
async function letThrough(attempts: readonly { account: string; address: string }[]): Promise<number> {
  const answers = await Promise.allSettled(attempts.map((attempt) => beginLogin(fixture.pool, attempt)));
  for (const answer of answers) if (answer.status === "rejected") expect(reasonOf(answer.reason)).toBe(ErrorReason.RATE_LIMITED);
  return answers.filter(({ status }) => status === "fulfilled").length;
}

const many = <T>(count: number, of: (i: number) => T): T[] => Array.from({ length: count }, (_, i) => of(i));

describe("logins that fail", () => {
  test("count for one account by the /64 of an address, in any notation", async () => {
    const addresses = many(15, (i) => `2001:db8:0:1:${(i * 4099).toString(16)}::${i}`);
    expect(await letThrough(addresses.map((address) => ({ account: "six@example.com", address })))).toBe(10);
    expect(await letThrough([{ account: "six@example.com", address: "2001:db8:0:2::1" }])).toBe(1);
    const mapped = ["192.0.2.9", "::ffff:192.0.2.9", "::ffff:c000:209", "64:ff9b::192.0.2.9"];
    expect(await letThrough(many(16, (i) => ({ account: "four@example.com", address: mapped[i % 4] as string })))).toBe(10);
  });

  test("count for any account by the /64, and by the /56 and /48 with larger limits", async () => {
    const send = (count: number, address: (i: number) => string) =>
      letThrough(many(count, (i) => ({ account: `spray-${address(0)}-${i}@example.com`, address: address(i) })));
    expect(await send(120, (i) => `2001:db8:a:1::${i.toString(16)}`)).toBe(100);
    // The first /64 has used a quarter of the limit of this /56.
    expect(await send(340, (i) => `2001:db8:a:${((i % 200) + 2).toString(16)}::1`)).toBe(300);
    expect(await send(1_300, (i) => `2001:db8:a:${((i % 255) + 1).toString(16)}00::${i.toString(16)}`)).toBe(1_200);
    expect(await send(3, () => "2001:db8:b::1")).toBe(3);
  });

  test("and are refused lock out nobody: one address alone cannot close an account to others", async () => {
    const account = "victim@example.com";
    expect(await letThrough(many(300, () => ({ account, address: "192.0.2.20" })))).toBe(10);
    expect(await letThrough([{ account, address: "192.0.2.21" }])).toBe(1);
    const spread = many(200, (i) => ({ account, address: `198.51.100.${i}` }));
    expect(await letThrough(spread)).toBe(100 - 11);
  });

  test("report the time until the window of the limit that refused them ends", async () => {
    const attempts = many(11, () => beginLogin(fixture.pool, { account: "wait@example.com", address: "192.0.2.30" }));
    const refused = (await Promise.allSettled(attempts)).find(({ status }) => status === "rejected") as PromiseRejectedResult;
    const seconds = detailOf(refused.reason)?.retryAfterSeconds ?? 0;
    expect(seconds).toBeGreaterThan(890);
    expect(seconds).toBeLessThanOrEqual(900);
  });
});
