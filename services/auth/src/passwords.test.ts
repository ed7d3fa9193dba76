import { monitorEventLoopDelay } from "node:perf_hooks";
import { ErrorReason, reasonOf } from "@turnwright/platform/errors";
import { describe, expect, it } from "vitest";
import { createPasswords } from "./passwords.ts";

describe("passwords", () => {
  it("are argon2id hashes with OWASP's parameters, and fit themselves only", async () => {
    const passwords = createPasswords();
    const hash = await passwords.hash("SecurePass123");
    expect(hash).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
    expect(await passwords.verify(hash, "SecurePass123")).toBe(true);
    expect(await passwords.verify(hash, "SecurePass124")).toBe(false);
    expect(await passwords.verify(undefined, "no account has this password")).toBe(false);
  });

  it("wait in a queue with an end, and do not hold the event loop", async () => {
    const passwords = createPasswords();
    const hash = await passwords.hash("SecurePass123");
    const delay = monitorEventLoopDelay({ resolution: 5 });
    delay.enable();
    const answers = await Promise.allSettled(Array.from({ length: 260 }, () => passwords.verify(hash, "SecurePass123")));
    delay.disable();
    const refused = answers.filter((answer) => answer.status === "rejected");
    // Two run, two hundred wait.
    expect(refused).toHaveLength(58);
    for (const { reason } of refused) expect(reasonOf(reason)).toBe(ErrorReason.RATE_LIMITED);
    // One hash takes some 20 ms: on the loop, 202 of them would hold it for seconds.
    expect(delay.percentile(99) / 1e6).toBeLessThan(500);
    expect(await passwords.verify(hash, "SecurePass123")).toBe(true);
  });
});
