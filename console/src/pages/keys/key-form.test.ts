import { expect, test } from "vitest";
import { abilityText, createBody, draftOf, emptyDraft, faultsOf, updateBody } from "./key-form.ts";

const now = new Date("2026-06-01T00:00:00Z");

test("an empty form asks for a name; lists without names and odd numbers are refused at their field", () => {
  expect(Object.keys(faultsOf(emptyDraft))).toEqual(["name"]);
  const odd = { ...emptyDraft, name: "ci", models: [], perMinute: "1.5", ceiling: "-1" };
  expect(Object.keys(faultsOf(odd))).toEqual(["allowed_models", "rate_limit_per_minute", "spend_limit_usd"]);
});

test("a new key sends what was chosen", () => {
  const body = createBody({ ...emptyDraft, name: " ci ", tools: ["calculator"], perMinute: "60", ceiling: "5" }, now);
  expect(body).toMatchObject({ name: "ci", allowed_tools: ["calculator"], rate_limit_per_minute: 60, spend_limit_usd: 5 });
  expect(body.expires_at).toBe("2026-08-30T00:00:00.000Z");
});

test("a change sends the changed fields alone, and tells nothing from everything", () => {
  const before = draftOf({
    name: "ci",
    allowed_tools: ["calculator"],
    allowed_models: [],
    rate_limit_per_minute: 5,
    spend_limit_usd: 2,
  } as never);
  expect(updateBody(before, before, now)).toEqual({});
  expect(updateBody(before, { ...before, tools: undefined, ceiling: "", expires: "" }, now)).toEqual({
    allowed_tools: ["*"],
    spend_limit_usd: 0,
    never_expires: true,
  });
});

test("the form says what the key can do", () => {
  expect(abilityText({ ...emptyDraft, models: ["gpt-4o-mini"], tools: ["calculator"], ceiling: "5" })).toBe(
    "This key can: chat with 1 model, use 1 tool, spend US$5.00.",
  );
});
