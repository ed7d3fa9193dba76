import { GetUsageResponseSchema, ListAllUsageResponseSchema } from "@turnwright/contract/auth/v1/usage_service";
import { ListRunsResponseSchema } from "@turnwright/contract/conversation/v1/conversation_service";
import { expect, test } from "vitest";
import { csvWriter, wantsCsv } from "./csv.ts";

const header = "day,model,token_id,requests,prompt_tokens,completion_tokens,cost_usd,estimated_tokens,key_name,priced";

test("rows become lines of cells, under a line with the names of the fields, with and without rows", () => {
  const write = csvWriter(GetUsageResponseSchema, "usage");
  const row = {
    day: "2026-01-31",
    model: "small",
    token_id: "t",
    requests: 3,
    prompt_tokens: -1,
    cost_usd: 0.0042,
    priced: true,
  };
  expect(write({ usage: [row, {}] })).toEqual({
    text: `${header}\r\n2026-01-31,small,t,3,-1,,0.0042,,,true\r\n,,,,,,,,,\r\n`,
    nextCursor: "",
  });
  expect(write({ usage: [] }).text).toBe(`${header}\r\n`);
  const all = csvWriter(ListAllUsageResponseSchema, "usage");
  expect(all({ usage: [{ user_id: "u" }], next_cursor: "c1" })).toMatchObject({ nextCursor: "c1" });
});

test.each([
  ["=1+1", "'=1+1"],
  ["+1", "'+1"],
  ["-1", "'-1"],
  ["@SUM(A1)", "'@SUM(A1)"],
  ["\t=1", "'\t=1"],
  ['=HYPERLINK("http://x","y")', `"'=HYPERLINK(""http://x"",""y"")"`],
  ["a,b", '"a,b"'],
  ['say "x"', '"say ""x"""'],
  ["two\r\nlines", '"two\r\nlines"'],
  ["a=b-c", "a=b-c"],
  ["ключ", "ключ"],
])("the text %j is written as %j, which no spreadsheet runs", (name, cell) => {
  const { text } = csvWriter(GetUsageResponseSchema, "usage")({ usage: [{ key_name: name }] });
  expect(text).toBe(`${header}\r\n,,,,,,,,${cell},\r\n`);
});

test("a method whose rows do not fit in a table is refused when the gateway starts", () => {
  expect(() => csvWriter(ListRunsResponseSchema, "runs")).toThrow("does not fit in the cell");
  expect(() => csvWriter(ListRunsResponseSchema, "next_cursor")).toThrow("no list of messages");
  expect(() => csvWriter(GetUsageResponseSchema, "rows")).toThrow("no list of messages");
});

test.each([
  ["text/csv", true],
  ["Text/CSV; charset=utf-8, */*", true],
  ["text/csv, application/json", true],
  ["application/json, text/csv", false],
  ["text/html,*/*", false],
  ["", false],
  [undefined, false],
])("Accept: %s asks for a table: %s", (accept, wants) => {
  expect(wantsCsv(accept)).toBe(wants);
});
