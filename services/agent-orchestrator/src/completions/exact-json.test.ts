import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { complete, stream } from "../../testing/completion.ts";
import { callsFor, mesh, useOrchestrator } from "../../testing/runs.ts";
import { readExactly } from "./exact-json.ts";

useOrchestrator();

const rewritten = (text: string) => {
  const { value, write } = readExactly(text);
  return write(value);
};

describe("numbers of a body that is written again", () => {
  const bound = '{"type":"integer","minimum":-9223372036854775808,"maximum":9223372036854775807,"multipleOf":1.50e2}';
  const body =
    `{"messages":[{"role":"user","content":"9007199254740993"}],"seed":9007199254740993,"top_p":0.12345678901234567890,` +
    `"x":[1,18446744073709551615,{"y":-0.0,"z":1e400}],"s":${bound}}`;

  test("keep their digits in a first and in every further request", async () => {
    mesh.model.reply(callsFor("calculator"), { text: "hello" });
    await stream(body);
    const requests = mesh.model.requests.map(({ bytes }) => bytes.toString());
    expect(requests).toHaveLength(2);
    for (const request of requests) {
      expect(request).toContain('"seed":9007199254740993,"top_p":0.12345678901234567890,');
      expect(request).toContain(`"x":[1,18446744073709551615,{"y":-0.0,"z":1e400}],"s":${bound}`);
    }
  });

  test("keep their digits for a token with limits", async () => {
    mesh.identity.allowedModels = ["gpt-test"];
    mesh.model.reply({ text: "hello" });
    await complete('{"messages":[{"role":"user","content":"hi"}],"seed":9007199254740993,"server_tools":"off"}');
    expect(mesh.model.requests[0]?.bytes.toString()).toContain('"seed":9007199254740993');
  });

  test("replaced members of a copy are written, and the others keep their digits", () => {
    const { value, write } = readExactly('{"a":12345678901234567890,"b":{"c":12345678901234567890},"d":1}');
    expect(write({ ...(value as object), d: 2 })).toBe('{"a":12345678901234567890,"b":{"c":12345678901234567890},"d":2}');
  });

  test("change nothing else: any JSON is written as JSON.stringify writes it, apart from digits", () => {
    const number = fc.oneof(fc.integer(), fc.double({ noDefaultInfinity: true, noNaN: true }), fc.maxSafeInteger());
    const leaf = fc.oneof(number, fc.string(), fc.constant("1234567890123456"), fc.boolean(), fc.constant(null));
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof({ maxDepth: 4 }, leaf, fc.array(tie("tree")), fc.dictionary(fc.string(), tie("tree"))),
    }));
    fc.assert(
      fc.property(tree, (value) => {
        const text = JSON.stringify(value);
        expect(JSON.parse(rewritten(text))).toEqual(JSON.parse(text));
      }),
    );
    fc.assert(
      fc.property(fc.array(fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n })), (numbers) => {
        const text = `{"a":[${numbers.join(",")}]}`;
        expect(rewritten(text)).toBe(text);
      }),
    );
    expect(rewritten('{"__proto__":{"a":12345678901234567890},"b":1}')).toBe('{"__proto__":{"a":12345678901234567890},"b":1}');
  });
});
