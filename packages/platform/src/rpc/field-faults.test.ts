import { create, type DescMessage, fromJson, type JsonValue, type Message } from "@bufbuild/protobuf";
import { ListValueSchema, StructSchema, timestampFromMs, ValueSchema } from "@bufbuild/protobuf/wkt";
import { DecideApprovalRequestSchema } from "@turnwright/contract/agent/v1/agent_service";
import { ReviewRunRequestSchema } from "@turnwright/contract/agent/v1/run_service";
import { CreateApiKeyRequestSchema } from "@turnwright/contract/auth/v1/api_key_service";
import { GetJwksResponseSchema } from "@turnwright/contract/auth/v1/token_service";
import { ExecuteToolRequestSchema } from "@turnwright/contract/tool/v1/tool_service";
import { expect, test } from "vitest";
import { fieldFaults, maxFaults } from "./field-faults.ts";

const faultOf = <T extends DescMessage>(desc: T, init: Parameters<typeof create<T>>[1]) =>
  fieldFaults(desc, create(desc, init))[0];

test("a sound request has no fault", () => {
  expect(
    faultOf(CreateApiKeyRequestSchema, {
      name: "key",
      allowedTools: ["calculator"],
      expiresAt: timestampFromMs(Date.parse("9999-12-31T23:59:59.999Z")),
      spendLimitUsd: 5,
    }),
  ).toBeUndefined();
  expect(faultOf(CreateApiKeyRequestSchema, {})).toBeUndefined();
});

test("NUL is found in fields, lists and messages, and named by its path", () => {
  expect(faultOf(CreateApiKeyRequestSchema, { name: "a\0" })).toEqual({ path: "name", message: "must not have NUL characters" });
  expect(faultOf(CreateApiKeyRequestSchema, { allowedTools: ["a", "b\0"] })?.path).toBe("allowed_tools[1]");
  expect(faultOf(ExecuteToolRequestSchema, { call: { function: { name: "a\0" } } })?.path).toBe("call.function.name");
});

test.each<[JsonValue, string]>([
  ["a\0", "calls[0].output"],
  [["a", "b\0"], "calls[0].output[1]"],
  [{ a: [{ b: "c\0" }] }, "calls[0].output.a[0].b"],
  [{ "a\0": 1 }, "calls[0].output"],
])("NUL is found in a Value that is %j", (json, path) => {
  const output = fromJson(ValueSchema, json);
  expect(faultOf(ReviewRunRequestSchema, { calls: [{ callId: "c", outcome: "completed", output }] })?.path).toBe(path);
});

test("NUL is found in a Struct, in a list of them, and in one on its own", () => {
  expect(faultOf(DecideApprovalRequestSchema, { arguments: { text: ["a\0"] } })?.path).toBe("arguments.text[0]");
  expect(faultOf(GetJwksResponseSchema, { keys: [{ kty: "a" }, { kty: "b\0" }] })?.path).toBe("keys[1].kty");
  expect(fieldFaults(StructSchema, fromJson(StructSchema, { a: "b\0" }))).toHaveLength(1);
  expect(fieldFaults(ListValueSchema, fromJson(ListValueSchema, [[1, "b\0"]]))).toHaveLength(1);
});

test.each([
  [2n ** 62n, 0],
  [-(2n ** 62n), 0],
  [253_402_300_800n, 0],
  [253_402_300_799n, 999_999_999],
  [-62_135_596_801n, 0],
  [4_000_000_000n, -5],
  [4_000_000_000n, 1_000_000_000],
])("a time of %d s and %d ns is invalid", (seconds, nanos) => {
  expect(faultOf(CreateApiKeyRequestSchema, { expiresAt: { seconds, nanos } })).toEqual({
    path: "expires_at",
    message: "must be a time within the years 1 to 9999",
  });
});

test.each([Number.NaN, Number.POSITIVE_INFINITY])("%d is not a valid number", (spendLimitUsd) => {
  expect(faultOf(CreateApiKeyRequestSchema, { spendLimitUsd })?.path).toBe("spend_limit_usd");
});

test("all faults of a request are found, up to a limit, and none is left for the next request", () => {
  const faulty = create(CreateApiKeyRequestSchema, { name: "a\0", allowedTools: ["b", "c\0"], spendLimitUsd: Number.NaN });
  const paths = (desc: DescMessage, message: Message) => fieldFaults(desc, message).map(({ path }) => path);
  expect(paths(CreateApiKeyRequestSchema, faulty)).toEqual(["name", "allowed_tools[1]", "spend_limit_usd"]);
  expect(paths(CreateApiKeyRequestSchema, create(CreateApiKeyRequestSchema, { name: "a" }))).toEqual([]);
  const many = create(CreateApiKeyRequestSchema, { allowedTools: Array.from({ length: 100 }, () => "c\0") });
  expect(paths(CreateApiKeyRequestSchema, many)).toHaveLength(maxFaults);
});
