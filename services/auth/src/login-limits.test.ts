import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AuthFixture, startAuth } from "./auth-fixture.ts";
import { beginLogin } from "./login-limits.ts";

let fixture: AuthFixture;
beforeAll(async () => {
  fixture = await startAuth();
});
afterAll(() => fixture.stop());

describe("logins that succeed", () => {
  test("at once, of few accounts from one address, do not wait for each other in a circle, and leave nothing counted", async () => {
    const round = async (email: string) => {
      for (let login = 0; login < 20; login += 1) {
        const attempt = await beginLogin(fixture.pool, email, "192.0.2.7");
        await attempt.forgive();
      }
    };
    const emails = Array.from({ length: 9 }, (_, index) => `account-${index % 3}@example.com`);
    await Promise.all(emails.map(round));
    const { rows } = await fixture.pool.query("select sum(failures)::int as failures from login_attempts");
    expect(rows).toEqual([{ failures: 0 }]);
  });
});
