import fc from "fast-check";
import { expect, test } from "vitest";
import { rewriteBody } from "./rewrite-body.ts";

function rewritten(body: string, changes: { model?: string; deny?: string[]; rename?: Record<string, string> }): string {
  const { model = "up", deny = [], rename = {} } = changes;
  const rewrite = { model, deny: new Set(deny), rename: new Map(Object.entries(rename)) };
  return Buffer.from(rewriteBody(Buffer.from(body), rewrite)).toString();
}

test("a body gets the provider's name of the model, and everything else stays byte for byte", () => {
  const rest = '"seed": 9007199254740993, "x":1.50 ,"messages":[{"role":"user","content":"ä \\u00e4 😀 \\"model\\":\\"a\\""}]';
  expect(rewritten(`{"model":"public", ${rest}}`, {})).toBe(`{"model":"up",${rest.replaceAll(", ", ",").replace(" ,", ",")}}`);
  expect(rewritten('{"messages":[]}', {})).toBe('{"messages":[],"model":"up"}');
  expect(rewritten("{}", {})).toBe('{"model":"up"}');
});

test("a body that needs no change is the same object", () => {
  const body = Buffer.from('{ "messages": [] , "model":"up"}');
  expect(rewriteBody(body, { model: "up", deny: new Set(["seed"]), rename: new Map() })).toBe(body);
});

test("every member of a name is replaced, also when the name is written with escapes", () => {
  expect(rewritten('{"model":"a","mod\\u0065l":"b"}', {})).toBe('{"model":"up","model":"up"}');
  expect(rewritten('{"model":"a","se\\u0065d":1}', { deny: ["seed"] })).toBe('{"model":"up"}');
});

test("denied fields are left out, and renamed ones keep their value unless the new name is there", () => {
  const rename = { max_tokens: "max_completion_tokens" };
  const body = '{"model":"a","max_tokens":12,"seed":1,"nested":{"seed":2,"max_tokens":3}}';
  const nested = '"nested":{"seed":2,"max_tokens":3}';
  expect(rewritten(body, { deny: ["seed"], rename })).toBe(`{"model":"up","max_completion_tokens":12,${nested}}`);
  const both = '{"max_completion_tokens":7,"max_tokens":12,"model":"a"}';
  expect(rewritten(both, { rename })).toBe('{"max_completion_tokens":7,"model":"up"}');
  expect(rewritten('{"max_tokens":12,"model":"a"}', { deny: ["max_completion_tokens"], rename })).toBe('{"model":"up"}');
});

test("any JSON object means the same after the rewrite, but for the changed fields", () => {
  const key = fc.oneof(fc.constantFrom("model", "seed", "max_tokens", "stream"), fc.string());
  fc.assert(
    fc.property(fc.dictionary(key, fc.jsonValue()), fc.nat(2), (object, indent) => {
      const body = JSON.stringify(object, undefined, indent);
      const read = JSON.parse(rewritten(body, { deny: ["seed"], rename: { max_tokens: "limit" } }));
      const { seed: _seed, max_tokens: limit, ...kept } = JSON.parse(body);
      const renamed = limit === undefined || "limit" in kept ? {} : { limit };
      expect(read).toEqual({ ...kept, ...renamed, model: "up" });
    }),
  );
});
