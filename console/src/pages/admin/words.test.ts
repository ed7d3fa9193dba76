import { expect, test } from "vitest";
import { inviteState, troublesOf, verificationText } from "./words.ts";

test("an invite is open until it is used, revoked or over", () => {
  const now = new Date("2026-06-01T00:00:00Z");
  const invite = (more: object) => ({ used_at: null, revoked_at: null, expires_at: "2026-06-02T00:00:00Z", ...more }) as never;
  expect(inviteState(invite({}), now)).toBe("open");
  expect(inviteState(invite({ expires_at: "2026-05-31T00:00:00Z" }), now)).toBe("expired");
  expect(inviteState(invite({ revoked_at: "2026-05-31T00:00:00Z" }), now)).toBe("revoked");
  expect(inviteState(invite({ used_at: "2026-05-31T00:00:00Z" }), now)).toBe("used");
});

test("a broken audit log names its entry", () => {
  const verification = { entries: 3, head: "ab", broken_at: 0, fault: "", checked_at: null };
  expect(verificationText(verification)).toBe("3 entries, whole");
  expect(verificationText({ ...verification, broken_at: 4, fault: "was changed" })).toContain("Entry 4 is broken: was changed");
});

test("the system page says what is not well, and nothing else", () => {
  const replica = { instance: "a:1", is_silent: false, breakers: [{ provider: "p", model: "m", state: "open" }] };
  const parts = [
    { name: "auth", status: "ready", replicas: [{ ...replica, breakers: [] }] },
    { name: "tool-executor", status: "degraded", replicas: [{ ...replica, is_silent: true, breakers: [] }] },
    { name: "agent-orchestrator", status: "ready", replicas: [replica, replica] },
  ];
  const stores = [
    { name: "PostgreSQL", status: "ready" },
    { name: "Redis", status: "unavailable" },
  ];
  expect(troublesOf({ asked_at: null, parts, stores } as never)).toEqual([
    "tool-executor: 1 replica is silent.",
    "Redis: unavailable.",
    "Model m at p: breaker open.",
  ]);
});
