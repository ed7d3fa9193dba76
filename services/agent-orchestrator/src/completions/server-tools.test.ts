import { ServerTools } from "@turnwright/contract/agent/v1/completion_service";
import { ErrorReason } from "@turnwright/platform/errors";
import { describe, expect, test } from "vitest";
import { bytesOf, clientTool, complete, sent, stream, toolNames, user } from "../../testing/completion.ts";
import { asUser } from "../../testing/orchestrator.ts";
import { failureOf, mesh, useOrchestrator } from "../../testing/runs.ts";

useOrchestrator();

const { UNSPECIFIED, ON, OFF } = ServerTools;

/** The names of the tools that the model is offered, for a completion and for a stream. */
async function offered(body: object, serverTools: ServerTools = UNSPECIFIED): Promise<(string[] | undefined)[]> {
  const from = mesh.model.requests.length;
  mesh.model.reply({ text: "hello" }, { text: "hello" });
  await complete(body, serverTools);
  await stream(body, undefined, serverTools);
  for (const index of [from, from + 1]) expect(sent(index)).not.toHaveProperty("server_tools");
  return [toolNames(from), toolNames(from + 1)];
}

const all = ["calculator", "web_search"];
const schema = { name: "x", schema: { type: "object" } };
const shapes: readonly object[] = [
  { response_format: { type: "json_object" } },
  { response_format: { type: "json_schema", json_schema: schema } },
  { response_format: { type: "grammar", grammar: "root ::= [0-9]" } },
  { response_format: "json_object" },
  { guided_json: { type: "object" } },
  { guided_choice: ["a", "b"] },
  { structured_outputs: { regex: "a+" } },
  { grammar: "root ::= [0-9]" },
  { json_schema: { type: "object" } },
  { prediction: { type: "content", content: "x" } },
  { web_search_options: {} },
  { n: 2 },
  { tools: [] },
  { functions: [] },
];

describe("the server's tools", () => {
  test.each([
    {},
    { tools: null, functions: null, response_format: null, tool_choice: null, n: null, grammar: null, prediction: null },
    { response_format: { type: "text" } },
    { n: 1, guided_decoding_backend: "x" },
    { server_tools: null },
  ])("are offered to a request that leaves room for them: %j", async (body) => {
    expect(await offered(body)).toEqual([all, all]);
  });

  test.each(shapes)("are not offered to a request that leaves no room for them: %j", async (body) => {
    expect(await offered(body)).toEqual([undefined, undefined]);
  });

  test.each(shapes.filter((shape) => !("n" in shape)))("are offered when they are asked for all the same: %j", async (body) => {
    expect(await offered(body, ON)).toEqual([all, all]);
    for (const asked of ["on", true]) expect(await offered({ ...body, server_tools: asked })).toEqual([all, all]);
    expect(sent(0)).not.toHaveProperty("functions");
  });

  test("are not offered to a request that wants none, nor where none may be called", async () => {
    for (const declined of ["off", false]) expect(await offered({ server_tools: declined })).toEqual([undefined, undefined]);
    expect(await offered({}, OFF)).toEqual([undefined, undefined]);
    for (const choice of [{ tool_choice: "none" }, { function_call: "none" }]) {
      expect(await offered(choice)).toEqual([undefined, undefined]);
      expect(await offered(choice, ON)).toEqual([undefined, undefined]);
      expect(Object.keys(sent(mesh.model.requests.length - 2)).sort()).toEqual(["messages", "model"]);
    }
  });

  test("follow the choice beside the body rather than the one in it", async () => {
    expect(await offered({ server_tools: "on" }, OFF)).toEqual([undefined, undefined]);
    expect(await offered({ server_tools: "off" }, ON)).toEqual([all, all]);
  });

  test("are refused beside the client's own, and beside several answers", async () => {
    for (const own of [{ tools: [clientTool] }, { functions: [{ name: "mine" }] }]) {
      const expected = { reason: ErrorReason.INVALID_REQUEST, param: "server_tools" };
      expect(await failureOf(complete(own, ON))).toMatchObject(expected);
      expect(await failureOf(stream({ ...own, server_tools: "on" }))).toMatchObject(expected);
    }
    expect(await failureOf(complete({ n: 2 }, ON))).toMatchObject({ reason: ErrorReason.INVALID_REQUEST, param: "n" });
    expect(mesh.model.requests).toHaveLength(0);
  });

  test("leave the client's own alone when they are declined", async () => {
    mesh.model.reply({ text: "hello" });
    await complete({ tools: [clientTool], server_tools: "off", tool_choice: "auto" });
    expect(sent(0)).toEqual({ messages: [user], tools: [clientTool], tool_choice: "auto", model: "gpt-test" });
  });

  test.each(["yes", "On", "", 1, 0, {}, []])("are not chosen by the value %j", async (value) => {
    const expected = { reason: ErrorReason.INVALID_REQUEST, param: "server_tools" };
    expect(await failureOf(complete({ server_tools: value }))).toMatchObject(expected);
    expect(await failureOf(complete({ server_tools: value }, ON))).toMatchObject(expected);
  });

  test("may be declined by a token with limits", async () => {
    mesh.identity.allowedModels = ["gpt-test"];
    expect(await offered({ server_tools: "off" })).toEqual([undefined, undefined]);
  });

  test("stay out of the request in whatever spelling the choice arrives", async () => {
    mesh.model.reply({ text: "hello" });
    await complete('{"messages":[{"role":"user","content":"hi"}],"server_tools":"on","server\\u005ftools":"off"}');
    expect(mesh.model.requests[0]?.bytes.toString()).not.toMatch(/server|off/);
  });
});

test("a body beyond the limit is refused with the limit, whatever protocol carried it", async () => {
  const body = bytesOf({ padding: "x".repeat(1_048_576) });
  expect(await failureOf(mesh.completions.complete({ body }, asUser))).toMatchObject({ reason: ErrorReason.TOO_LARGE });
  mesh.model.reply({ text: "hello" });
  await complete({ padding: "x".repeat(1_040_000) });
});
