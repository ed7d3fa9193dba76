import { detailOf } from "@turnwright/platform/errors";
import { describe, expect, test } from "vitest";
import { givenJson, givenObject } from "./given-json.ts";

const refused = (work: () => unknown) => {
  try {
    work();
  } catch (error) {
    return { message: (error as { rawMessage: string }).rawMessage, param: detailOf(error)?.param };
  }
  return expect.fail("it was taken");
};

describe("JSON that a client gives", () => {
  test("as text is kept byte for byte", () => {
    const text = ' { "id" : 9007199254740993, "rate": 1.50 } ';
    expect(givenObject("arguments", { text, value: undefined })).toBe(text);
    expect(givenJson("output", { text: "18446744073709551615", value: undefined })).toBe("18446744073709551615");
  });

  test("as a value is serialized, unless a number in it may have lost digits", () => {
    expect(givenObject("arguments", { text: "", value: { id: 9007199254740991, rate: 0.1 } })).toBe(
      '{"id":9007199254740991,"rate":0.1}',
    );
    expect(givenJson("output", { text: "", value: undefined })).toBe("");
    for (const lost of [2 ** 53, -(2 ** 53), 1e300, Number.NaN, Number.POSITIVE_INFINITY]) {
      const value = { deep: [{ id: lost }] };
      expect(refused(() => givenObject("arguments", { text: "", value }))).toMatchObject({
        param: "arguments",
        message: expect.stringContaining("arguments_json"),
      });
    }
  });

  test("is refused in both forms at once, and when it is not JSON, not an object, or too deep", () => {
    const given = (text: string, value?: object) => refused(() => givenObject("arguments", { text, value: value as never }));
    expect(given("{}", {})).toMatchObject({ param: "arguments_json" });
    expect(given("{")).toMatchObject({ param: "arguments_json" });
    for (const text of ["[]", "5", "null", '"{}"']) expect(given(text)).toMatchObject({ param: "arguments" });
    expect(given(`${'{"a":'.repeat(40)}1${"}".repeat(40)}`)).toMatchObject({ param: "arguments" });
  });
});
