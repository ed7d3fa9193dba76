import { ErrorReason } from "@turnwright/platform/errors";
import { wholeCompletion } from "@turnwright/testing/scripted-model";
import { describe, expect, test } from "vitest";
import { chunk, sse, stop } from "../../testing/answers.ts";
import { complete, stream } from "../../testing/completion.ts";
import { create, failureOf, mesh, useOrchestrator } from "../../testing/runs.ts";

useOrchestrator({ LLM_MAX_ANSWER: "65536" });

const large = "word ".repeat(14_000);

describe("an answer beyond LLM_MAX_ANSWER ends with ANSWER_TOO_LARGE", () => {
  test("as a completion in one piece", async () => {
    mesh.model.reply({ text: large });
    expect((await failureOf(complete({}))).reason).toBe(ErrorReason.ANSWER_TOO_LARGE);
    expect(mesh.model.requests).toHaveLength(1);
  });

  test.each([
    ["one event", [chunk({ content: large }), stop]],
    ["many events", [...Array.from({ length: 700 }, () => chunk({ content: "word ".repeat(20) })), stop]],
  ])("as a stream of %s, and as a run", async (_name, events) => {
    mesh.model.reply({ raw: [sse(...events)] }, { raw: [sse(...events)] });
    expect((await failureOf(stream({}))).reason).toBe(ErrorReason.ANSWER_TOO_LARGE);
    expect((await failureOf(create())).reason).toBe(ErrorReason.ANSWER_TOO_LARGE);
    expect(mesh.model.requests).toHaveLength(2);
  });

  test("and one below it passes, however much its envelopes take", async () => {
    const events = Array.from({ length: 2_000 }, () => chunk({ content: "word " }));
    mesh.model.reply({ raw: [sse(...events, stop)] }, { text: "x".repeat(60_000) });
    expect((await stream({})).frames).toHaveLength(2_001);
    expect(Buffer.from((await complete({})).body).toString()).toBe(wholeCompletion({ text: "x".repeat(60_000) }));
  });
});

test("an answer that is nested beyond all reason ends with MODEL_FAILED, in one piece and streamed", async () => {
  const deep = `${"[".repeat(20_000)}${"]".repeat(20_000)}`;
  const choices = `"choices":[{"index":0,"KIND":{"content":"x"},"finish_reason":"stop"},{"index":1,"KIND":{"vendor":${deep}}}]`;
  mesh.model.reply(
    { raw: [`{${choices.replaceAll("KIND", "message")}}`] },
    { raw: [`data: {${choices.replaceAll("KIND", "delta")}}\n\n`] },
    { raw: [`data: {${choices.replaceAll("KIND", "delta")}}\n\n`] },
  );
  for (const work of [complete, stream, () => create()]) {
    expect((await failureOf(work({}))).reason).toBe(ErrorReason.MODEL_FAILED);
  }
});
