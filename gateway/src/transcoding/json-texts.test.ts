import type { DescMessage, Message } from "@bufbuild/protobuf";
import { AgentService } from "@turnwright/contract/agent/v1/agent_service";
import { RunService } from "@turnwright/contract/agent/v1/run_service";
import { detailOf } from "@turnwright/platform/errors";
import { describe, expect, test } from "vitest";
import { createBinder } from "./binder.ts";
import { compileJsonTexts } from "./json-texts.ts";
import { routesOf } from "./routes.ts";

const bindings = routesOf([AgentService, RunService]).flatMap(({ unary, stream }) => [unary, stream]);

/** The message bound from a REST request with this body. */
function bound(method: string, text: string): Message & Record<string, unknown> {
  const binding = bindings.find((one) => one?.method.name === method);
  if (binding === undefined) throw new Error(`no binding of ${method}`);
  const params = Object.fromEntries(binding.path.fields.map((name) => [name, "0198a000-0000-7000-8000-000000000001"]));
  return createBinder(binding)({ params, query: {}, body: JSON.parse(text), text: () => text }) as never;
}

describe("JSON that a client sends over REST", () => {
  test.each([
    '{"id":9007199254740993}',
    '{ "id" : 9007199254740993 , "rate": 1.50 }',
    '{"id":1,"id":2}',
    '{"10":1,"9":2}',
    "{}",
    "5",
    '"text"',
  ])("reaches its service byte for byte: %s", (json) => {
    const message = bound("DecideApproval", `{"approved": true,\n "arguments" : ${json} , "reason":"ok"}`);
    expect(message).toMatchObject({ approved: true, reason: "ok", argumentsJson: json });
    expect(message.arguments).toBeUndefined();
  });

  test("also in lists", () => {
    const calls = `[ {"call_id":"a","outcome":"completed","output": 18446744073709551615},{"callId":"b","outcome":"not_done"},
      {"call_id":"c","outcome":"completed","output":null} ,{"call_id":"d","outcome":"completed","output":{"x":[1.0]}}]`;
    const bare = bound("ReviewRun", `{"calls":${calls}}`).calls as { output?: unknown }[];
    expect(bare.map(({ output }) => output)).toEqual([undefined, undefined, undefined, undefined]);
    expect(bare).toMatchObject([
      { callId: "a", outputJson: "18446744073709551615" },
      { callId: "b", outputJson: "" },
      { callId: "c", outputJson: "null" },
      { callId: "d", outputJson: '{"x":[1.0]}' },
    ]);
  });

  test("may be left out, be null, or be given as text", () => {
    expect(bound("DecideApproval", '{"approved":true}')).toMatchObject({ argumentsJson: "" });
    expect(bound("DecideApproval", '{"approved":true,"arguments":null}')).toMatchObject({ argumentsJson: "" });
    expect(bound("DecideApproval", '{"approved":true,"arguments_json":"{\\"id\\":1}"}')).toMatchObject({
      argumentsJson: '{"id":1}',
    });
  });

  test("is refused in both forms at once", () => {
    for (const name of ["arguments_json", "argumentsJson"]) {
      const body = `{"approved":true,"arguments":{},"${name}":"{}"}`;
      expect(() => bound("DecideApproval", body)).toThrow("give one of them");
      try {
        bound("DecideApproval", body);
      } catch (error) {
        expect(detailOf(error)?.param).toBe("arguments_json");
      }
    }
  });

  test("costs requests of other methods nothing", () => {
    const compiled = bindings.filter((binding) => binding !== undefined && compileJsonTexts(binding.method.input as DescMessage));
    expect(new Set(compiled.map((binding) => binding?.method.name))).toEqual(
      new Set(["DecideApproval", "DecideApprovals", "ReviewRun"]),
    );
  });
});
