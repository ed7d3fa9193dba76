import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create as createMessage } from "@bufbuild/protobuf";
import { MessagePartSchema } from "@turnwright/contract/conversation/v1/conversation";
import { detailOf, ErrorReason, fail } from "@turnwright/platform/errors";
import { afterAll, describe, expect, test } from "vitest";
import { asUser } from "../../testing/orchestrator.ts";
import { callsFor, create, failureOf, mesh, sent, useOrchestrator } from "../../testing/runs.ts";
import { blamesImages } from "../history/image-refusals.ts";
import { checkParts, maxPartsBytes } from "./message-parts.ts";

const folder = mkdtempSync(join(tmpdir(), "turnwright-images-"));
const modelsFile = join(folder, "models.yaml");
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const png = "data:image/png;base64,iVBORw0KGgo=";
const image = { type: "image", imageUrl: png };
const sentImage = { type: "image_url", image_url: { url: png } };
const refusal = { status: 400, error: "image input is not supported - hint: you may need to provide the mmproj" };
const say = (message: string, rest: object = {}) =>
  mesh.agent.sendMessage({ conversationId: mesh.journal.conversation.id, message, ...rest }, asUser);
const userContents = (index: number) =>
  sent(index)
    .messages.filter(({ role }) => role === "user")
    .map(({ content }) => content);

describe("a message with an image", () => {
  useOrchestrator();

  test("is stored with its parts and sent in OpenAI's form, in every round and to later messages", async () => {
    mesh.model.reply(callsFor("calculator"), { text: "A cat." }, { text: "Black." });
    await create("What is this?", { parts: [image, { type: "text", text: "Be brief." }] });
    const content = [{ type: "text", text: "What is this?" }, sentImage, { type: "text", text: "Be brief." }];
    expect([userContents(0), userContents(1)]).toEqual([[content], [content]]);
    expect(mesh.journal.messages[0]).toMatchObject({ content: "What is this?", parts: [image, { text: "Be brief." }] });
    await say("Which colour?");
    expect(userContents(2)).toEqual([content, "Which colour?"]);
  });

  test("has one text where no part is an image", async () => {
    mesh.model.reply({ text: "ok" });
    await create("Compare", { parts: [{ type: "text", text: "one" }] });
    expect(userContents(0)).toEqual(["Compare\n\none"]);
  });

  test("is taken by a stream and by a background run", async () => {
    mesh.model.reply({ text: "A cat." });
    for await (const _ of mesh.agent.streamTurn({ message: "What?", parts: [image] }, asUser));
    expect(userContents(0)).toEqual([[{ type: "text", text: "What?" }, sentImage]]);
  });

  test("that the endpoint refuses fails with the model's name; the conversation goes on without the image", async () => {
    mesh.model.reply(refusal);
    const failed = await failureOf(create("What is this?", { model: "blind", parts: [image] }));
    expect(failed).toMatchObject({ reason: ErrorReason.MODEL_REJECTED, param: "parts" });
    expect(failed.message).toMatch(/^The model "blind" takes no images; choose another model\. It answered: .*not supported/);
    expect(mesh.model.requests).toHaveLength(1);
    mesh.model.reply(refusal, { text: "hello" }, { text: "again" });
    expect(await say("Never mind", { model: "blind" })).toMatchObject({ response: "hello" });
    const note = "What is this?\n\n[An image is left out here: this model takes none.]";
    expect(userContents(2)).toEqual([note, "Never mind"]);
    expect(await say("Still there?", { model: "blind" })).toMatchObject({ response: "again" });
    expect(userContents(3)).toEqual([note, "Never mind", "Still there?"]);
    mesh.model.reply({ text: "seen" });
    await say("And you?", { model: "other" });
    expect(userContents(4)[0]).toEqual([{ type: "text", text: "What is this?" }, sentImage]);
  });

  test("is refused before it is stored when a part is not right, by name", async () => {
    for (const [parts, param] of [
      [[{ type: "image", imageUrl: "https://example.com/cat.png" }], "parts[0].image_url"],
      [[image, { type: "image", imageUrl: "data:image/svg+xml;base64,AAAA" }], "parts[1].image_url"],
      [[{ type: "image", imageUrl: "data:image/png;base64,%00" }], "parts[0].image_url"],
      [[{ type: "image", imageUrl: "data:image/png;base64,AAA" }], "parts[0].image_url"],
      [[{ ...image, text: "both" }], "parts[0].text"],
      [[{ type: "text", text: "" }], "parts[0].text"],
      [[{ type: "text", text: "both", imageUrl: png }], "parts[0].image_url"],
    ] as const) {
      const failed = await failureOf(create("What?", { parts }));
      expect(failed).toMatchObject({ reason: ErrorReason.INVALID_REQUEST, param });
    }
    expect(mesh.journal.messages).toEqual([]);
    expect(mesh.model.requests).toEqual([]);
  });
});

describe("a model that takes no images, as the operator states,", () => {
  writeFileSync(
    modelsFile,
    `providers: { p: { base_url: "http://127.0.0.1:9" } }
models:
  blind: { provider: p, capabilities: [tools] }
  seeing: { provider: p, capabilities: [vision] }
default_model: blind
`,
  );
  useOrchestrator({ MODELS_FILE: modelsFile, LLM_BASE_URL: "" });

  test("refuses them by its name before the message is stored, whoever names it", async () => {
    for (const model of ["blind", ""]) {
      const failed = await failureOf(create("What?", { model, parts: [image] }));
      expect(failed).toMatchObject({ reason: ErrorReason.MODEL_REJECTED, param: "parts" });
      expect(failed.message).toContain('The model "blind" takes no images');
    }
    expect(mesh.journal.messages).toEqual([]);
  });
});

test("parts may have so many bytes together, and no more", () => {
  const text = createMessage(MessagePartSchema, { type: "text", text: "x".repeat(maxPartsBytes / 8) });
  expect(checkParts(Array(8).fill(text))).toBeUndefined();
  const more = createMessage(MessagePartSchema, { type: "text", text: "x" });
  try {
    checkParts([...Array(8).fill(text), more]);
    expect.fail("it was accepted");
  } catch (error) {
    expect(detailOf(error)).toMatchObject({ reason: ErrorReason.INVALID_REQUEST, param: "parts" });
  }
});

test.each([
  ["Invalid content type. image_url is only supported by certain models.", true],
  ["At most 0 image(s) may be provided in one prompt.", true],
  ["llama3 is not a multimodal model", true],
  ["this model does not support images", true],
  ["image input is not supported - hint: if this is unexpected, you may need to provide the mmproj", true],
  ["gemma3 does not support tools", false],
  ["The image is larger than 20 MB", false],
  ["reasoning_content is not supported", false],
])("the words %j blame images: %s", (words, expected) => {
  expect(blamesImages(fail(ErrorReason.MODEL_REJECTED, words))).toBe(expected);
  expect(blamesImages(fail(ErrorReason.MODEL_RATE_LIMITED, words))).toBe(false);
});
