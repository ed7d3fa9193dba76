import type { ScriptedModel } from "@turnwright/testing/scripted-model";
import { describe, expect, test } from "vitest";
import type { Json } from "../json-call.ts";
import type { EffectCounter } from "./effect-counter.ts";

/** A running system with a user who is logged in, and its outside. */
interface Running {
  readonly model: ScriptedModel;
  readonly effects: EffectCounter;
  send(verb: string, path: string, body?: object, headers?: Record<string, string>): Promise<Response>;
  call(verb: string, path: string, body?: object): Promise<{ status: number; data: Json; error: Json }>;
}

/** Tests of messages with parts, and of messages that are sent once more. */
export function describeNewMessages(running: () => Running): void {
  describe("messages of runs", () => {
    test("show a picture to the model; it is listed cut, and read as a download", async () => {
      const { call, send, model } = running();
      model.reply({ text: "A cat." });
      const url = `data:image/png;base64,${"A".repeat(600_000)}`;
      const body = { message: "What is this?", parts: [{ type: "image", image_url: url }] };
      const { id, conversation_id: conversationId } = (await call("POST", "/v1/runs", body)).data.run;
      expect((await call("GET", `/v1/runs/${id}/wait`)).data.run).toMatchObject({ response: "A cat." });
      const content = [
        { type: "text", text: "What is this?" },
        { type: "image_url", image_url: { url } },
      ];
      expect(model.requests.at(-1)?.body.messages.at(-1)).toEqual({ role: "user", content });
      const path = `/v1/conversations/${conversationId}/messages`;
      const { messages } = (await call("GET", `${path}?order=desc&content_limit=4096`)).data;
      expect(messages).toMatchObject([
        { content: "A cat.", run_id: id },
        { parts: [{ image_url: "", truncated_bytes: url.length }] },
      ]);
      const download = await send("GET", `${path}/1/content?part=1`);
      expect(download.headers.get("content-type")).toBe("text/plain; charset=utf-8");
      expect(download.headers.get("content-disposition")).toMatch(/^attachment/);
      expect(await download.text()).toBe(url);
      const fork = await call("POST", `/v1/conversations/${conversationId}/fork`, { before_sequence: 2 });
      expect([fork.status, fork.data.conversation.message_count]).toEqual([201, 1]);
    });

    test("are retried once, as one new run with the same message, however often and under whatever key it is asked", async () => {
      const { call, send, model, effects } = running();
      const parts = [{ type: "image", image_url: "data:image/png;base64,QUJD" }];
      model.reply({
        calls: [{ id: "p", name: "http_request", arguments: JSON.stringify({ url: effects.url, method: "POST" }) }],
      });
      const { id, conversation_id: conversationId } = (await call("POST", "/v1/runs", { message: "Retry me", parts })).data.run;
      expect((await call("GET", `/v1/runs/${id}/wait`)).data.run.status).toBe("waiting");
      const early = await call("POST", `/v1/runs/${id}/retry`, {});
      expect([early.status, early.error.code]).toEqual([409, "RUN_NOT_RETRYABLE"]);
      await call("POST", `/v1/runs/${id}/cancel`, {});
      model.reply({ text: "This time." });
      const key = { "idempotency-key": `retry-${id}` };
      const answers = await Promise.all(Array.from({ length: 8 }, () => send("POST", `/v1/runs/${id}/retry`, {}, key)));
      expect(answers.map(({ status }) => status)).toEqual(Array(8).fill(202));
      const bodies = (await Promise.all(answers.map((answer) => answer.json()))) as { data: { run: { id: string } } }[];
      const [retried, ...others] = new Set(bodies.map(({ data }) => data.run.id));
      expect([retried !== id, others]).toEqual([true, []]);
      expect((await call("GET", `/v1/runs/${retried}/wait`)).data.run).toMatchObject({
        status: "completed",
        response: "This time.",
      });
      const { messages } = (await call("GET", `/v1/conversations/${conversationId}`)).data;
      const said = messages.filter(({ role }: { role: string }) => role === "user");
      expect(said.map(({ content }: { content: string }) => content)).toEqual(["Retry me", "Retry me"]);
      expect((await call("POST", `/v1/runs/${id}/retry`, {})).data.run.id).toBe(retried);
      const otherKey = await send("POST", `/v1/runs/${id}/retry`, {}, { "idempotency-key": "another" });
      expect([otherKey.status, ((await otherKey.json()) as Json).error.code]).toEqual([409, "RUN_NOT_RETRYABLE"]);
      const completed = await call("POST", `/v1/runs/${retried}/retry`, {});
      expect([completed.status, completed.error.code]).toEqual([409, "RUN_NOT_RETRYABLE"]);
    });
  });
}
