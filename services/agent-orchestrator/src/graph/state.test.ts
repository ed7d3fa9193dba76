import { create } from "@bufbuild/protobuf";
import { MessageSchema } from "@turnwright/contract/conversation/v1/conversation";
import { describe, expect, test } from "vitest";
import { callsMessageId, freshState, readState } from "./state.ts";
import { graphVersions } from "./versions.ts";

describe("a stored state", () => {
  test("is read as it was written", () => {
    const state = { ...freshState, agent: "coder", model: "m", iteration: 3, messageId: "m1", waiting: ["c1"], background: true };
    expect(readState(JSON.stringify({ ...state, retries: 2 }))).toEqual({ ...state, retries: 2 });
    const trial = { name: "send_mail", arguments: '{"to":9007199254740993}' };
    expect(readState(JSON.stringify({ ...state, trial })).trial).toEqual(trial);
    for (const unreadable of [null, "send_mail", { name: "send_mail" }, { name: 1, arguments: "{}" }]) {
      expect(readState(JSON.stringify({ ...state, trial: unreadable })).trial).toBeUndefined();
    }
  });

  test("of an earlier release gets fresh values for later fields", () => {
    expect(readState('{"agent":"coder","iteration":1}')).toEqual({
      ...freshState,
      agent: "coder",
      iteration: 1,
      background: false,
      retries: 0,
    });
  });

  test("of version 1, parked for an approval, reads as one of version 2: the versions differ only in the credential that the run resumes with", () => {
    const messageId = "0198a000-0000-7000-8000-000000000007";
    const stored = `{"agent":"general","model":"m","iteration":1,"messageId":"${messageId}","waiting":["c1"],"background":false,"retries":0}`;
    const expected = { agent: "general", model: "m", iteration: 1, messageId, waiting: ["c1"], background: false, retries: 0 };
    expect(readState(stored)).toEqual(expected);
    expect(graphVersions).toEqual({ newest: 2, oldest: 1 });
  });

  test("keeps fields that a later release added", () => {
    const added = { agent: "coder", plan: { steps: [1, 2] } };
    expect(JSON.parse(JSON.stringify(readState(JSON.stringify(added))))).toMatchObject(added);
  });

  test.each([
    "",
    "null",
    "[]",
    '"text"',
    "{",
    '{"agent":1,"model":null,"iteration":"x","messageId":{},"waiting":[1,null],"retries":-1}',
  ])("that is %s is as that of a run that has done nothing", (json) => {
    expect(readState(json)).toEqual({ ...freshState, background: false, retries: 0 });
  });
});

describe("the message whose calls are being run", () => {
  const user = create(MessageSchema, { id: "u", role: "user" });
  const asking = create(MessageSchema, { id: "a", role: "assistant", toolCalls: [{ id: "c1" }] });

  test("is the one in the state", () => {
    expect(callsMessageId({ ...freshState, messageId: "x" }, [user, asking])).toBe("x");
  });

  test("is the newest with calls after the user's message when the state names none", () => {
    const answered = create(MessageSchema, { id: "t", role: "tool", toolCallId: "c1" });
    expect(callsMessageId(freshState, [user, asking, answered])).toBe("a");
    expect(callsMessageId(freshState, [user, asking, answered, user])).toBe("");
  });
});
