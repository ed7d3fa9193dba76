import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AuthFixture, type Person, refusalOf, startAuthFixture } from "../../testing/auth.ts";

let fixture: AuthFixture;
let admin: Person;
beforeAll(async () => {
  fixture = await startAuthFixture();
  admin = await fixture.person({ role: "admin" });
});
afterAll(() => fixture.stop());

test("accounts are found by words, role and state, and signs of patterns are only signs", async () => {
  const make = (email: string, name: string, role: string) =>
    admin.users.createUser({ email, password: "correct-horse-battery", name, role });
  await make("Anna.Ex_y@example.com", "Anna Hundred%", "user");
  const bot = await make("bot@example.com", "Robot", "agent");
  await admin.users.updateUser({ userId: bot.user?.id ?? "", isActive: false });
  const emails = async (filter: object) => (await admin.users.listUsers(filter)).users.map(({ email }) => email);
  expect(await emails({ q: "anna.EX" })).toEqual(["anna.ex_y@example.com"]);
  expect(await emails({ q: "hundred%" })).toEqual(["anna.ex_y@example.com"]);
  expect(await emails({ q: "ex_y%" })).toEqual([]);
  expect(await emails({ q: bot.user?.id ?? "" })).toEqual(["bot@example.com"]);
  expect(await emails({ role: "agent", active: false })).toEqual(["bot@example.com"]);
  expect(await emails({ role: "agent", active: true })).toEqual([]);
});

test("signing keys are listed with their state and without a private half", async () => {
  await admin.tokens.rotateSigningKey({ retirePrevious: true });
  const { signingKeys } = await admin.tokens.listSigningKeys({});
  expect(signingKeys.map(({ state }) => state)).toEqual(["signing", "retired"]);
  expect(signingKeys[0]).toMatchObject({ algorithm: "EdDSA" });
  expect(signingKeys[1]?.retiredAt).toBeDefined();
  const user = await fixture.person();
  expect(await refusalOf(user.tokens.listSigningKeys({}))).toBe("PERMISSION_DENIED");
});

describe("the audit log", () => {
  test("is read newest first, in pages, by event, by user and by time", async () => {
    const person = await fixture.person();
    for (const name of ["a", "b", "c"]) await person.keys.createApiKey({ name });
    const user = person.identity.userId;
    const first = await admin.audit.listAuditEntries({ limit: 2, event: "api_key.created", user });
    expect(first.entries.map(({ details }) => details?.name)).toEqual(["c", "b"]);
    const second = await admin.audit.listAuditEntries({ limit: 2, event: "api_key", user, cursor: first.nextCursor });
    expect(second.entries.map(({ details }) => details?.name)).toEqual(["a"]);
    expect(second.nextCursor).toBe("");
    expect((await admin.audit.listAuditEntries({ event: "api_ke", user })).entries).toEqual([]);
    const [newest] = first.entries;
    expect(newest).toMatchObject({ action: "api_key.created", outcome: "success", actorId: user });
    const future = timestampFromDate(new Date(Date.now() + 60_000));
    expect((await admin.audit.listAuditEntries({ from: future })).entries).toEqual([]);
    expect((await admin.audit.listAuditEntries({ to: newest?.at, user })).entries.map(({ sequence }) => sequence)).not.toContain(
      newest?.sequence,
    );
    expect(await refusalOf(admin.audit.listAuditEntries({ cursor: "x" }))).toBe("INVALID_REQUEST");
  });

  test("is verified as a whole, and a changed entry is named", async () => {
    const { verification } = await admin.audit.verifyAuditLog({});
    expect(verification).toMatchObject({ brokenAt: 0n, fault: "" });
    const { entries } = await admin.audit.listAuditEntries({ limit: 1 });
    expect(verification).toMatchObject({ entries: entries[0]?.sequence, head: entries[0]?.hash });
    // Changed by somebody who may do everything, as the owner of the database.
    await fixture.pool.query("alter table audit_log disable trigger all");
    await fixture.pool.query("update audit_log set event = replace(event, 'success', 'failure') where seq = 2");
    await fixture.pool.query("alter table audit_log enable trigger all");
    expect((await admin.audit.verifyAuditLog({})).verification).toMatchObject({
      entries: 1n,
      brokenAt: 2n,
      fault: "was changed",
    });
  });

  test("is closed to everybody but admins", async () => {
    const user = await fixture.person();
    expect(await refusalOf(user.audit.listAuditEntries({}))).toBe("PERMISSION_DENIED");
    expect(await refusalOf(user.audit.verifyAuditLog({}))).toBe("PERMISSION_DENIED");
  });
});
