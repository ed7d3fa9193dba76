import type { ScriptedModel } from "@turnwright/testing/scripted-model";
import { beforeAll, describe, expect, test } from "vitest";
import { jsonCaller } from "../json-call.ts";
import type { System } from "./system.ts";

/** Tests with a mesh that has the tools of `large-tools`, and a scripted model. */
export function describeMessageLimits(running: () => { system: System; model: ScriptedModel }): void {
  describe("a run whose messages are larger than the mesh carries", () => {
    let model: ScriptedModel;
    let system: System;
    let token: string | undefined;

    beforeAll(async () => {
      ({ system, model } = running());
      const account = { email: "large@example.com", password: "SecurePass123" };
      await call("POST", "/v1/auth/register", { ...account, name: "L" });
      token = (await call("POST", "/v1/auth/login", account)).body.data.access_token;
    });

    const call = jsonCaller(
      () => system.baseUrl,
      () => token,
    );
    const runOf = async (conversationId: string) =>
      (await call("GET", `/v1/conversations/${conversationId}/runs`)).body.data.runs[0];

    test.each([
      [9_000_000, "larger than 7340032 bytes"],
      [5_000_000, "larger than the 2097152 bytes that a conversation stores"],
    ])("by its answer of %i bytes ends with that cause, and the next message is answered", async (size, cause) => {
      const before = model.requests.length;
      model.reply({ text: "Begin." }, { text: "x".repeat(size) });
      const id = (await call("POST", "/v1/conversations", { message: "Hello" })).body.data.conversation_id;
      const { status, body } = await call("POST", `/v1/conversations/${id}/messages`, { message: "Write a book" });
      expect(status, JSON.stringify(body).slice(0, 500)).toBe(502);
      expect(body.error.code).toBe("ANSWER_TOO_LARGE");
      expect(body.error.message).toContain(cause);
      const run = await runOf(id);
      expect(run).toMatchObject({ status: "failed", error: body.error.message });
      expect(model.requests.length - before).toBe(2);
      model.reply({ text: "Yes." });
      const next = await call("POST", `/v1/conversations/${id}/messages`, { message: "Still there?" });
      expect(next.body.data?.response).toBe("Yes.");
    });

    test("by the results of a round goes on with those that fit", async () => {
      const calls = Array.from({ length: 6 }, (_, at) => ({ id: `c${at}`, name: "read_file", arguments: '{"bytes":1900000}' }));
      model.reply({ calls }, { text: "I have read them." });
      const { body } = await call("POST", "/v1/conversations", { message: "Read all files" });
      expect(body.data?.response, JSON.stringify(body).slice(0, 500)).toBe("I have read them.");
      const id = body.data.conversation_id;
      const { messages } = (await call("GET", `/v1/conversations/${id}`)).body.data;
      const results = messages.filter(({ role }: { role: string }) => role === "tool");
      expect(results.map(({ content }: { content: string }) => content.length > 1_000_000)).toEqual([
        ...[true, true],
        ...[false, false, false, false],
      ]);
      expect(results[2].content).toContain("is left out");
      expect(await runOf(id)).toMatchObject({ status: "completed" });
    });
  });
}
