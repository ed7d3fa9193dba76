import { create } from "@bufbuild/protobuf";
import { CreateApiKeyRequestSchema } from "@turnwright/contract/auth/v1/api_key_service";
import { RegisterRequestSchema } from "@turnwright/contract/auth/v1/auth_service";
import { describe, expect, test } from "vitest";
import { detailOf } from "../errors.ts";
import { invalidRequest, requestFaults } from "./request-faults.ts";

describe("the faults of a request", () => {
  test("are all named, those of rules and those of values that no field may hold, once for each field", () => {
    const request = create(CreateApiKeyRequestSchema, { name: "a\0", allowedTools: ["b", "no name"], rateLimitPerDay: 0 });
    expect(requestFaults(CreateApiKeyRequestSchema, request, true).map(({ path }) => path)).toEqual([
      "name",
      "allowed_tools[1]",
      "rate_limit_per_day",
    ]);
    const fromInside = requestFaults(RegisterRequestSchema, create(RegisterRequestSchema, { name: "a\0" }), false);
    expect(fromInside.map(({ path }) => path)).toEqual(["email", "password"]);
  });

  test("are listed in the error, the first as its param and all in its message", () => {
    const error = invalidRequest([
      { path: "email", message: "is no address" },
      { path: "", message: "is odd" },
    ]);
    expect(error.rawMessage).toBe("email: is no address; request: is odd");
    expect(detailOf(error)).toMatchObject({
      param: "email",
      faults: [
        { param: "email", message: "is no address" },
        { param: "", message: "is odd" },
      ],
    });
  });

  test("fit into a header, however many and long they are, and are whole characters", () => {
    const long = "\u{1f600}".repeat(5_000);
    for (const count of [1, 19, 10_000]) {
      const error = invalidRequest(Array.from({ length: count }, () => ({ path: `x${long}`, message: long })));
      const { faults = [] } = detailOf(error) ?? {};
      const size = Buffer.byteLength(JSON.stringify(faults.map(({ param, message }) => [param, message])));
      expect(size).toBeLessThan(4_000);
      expect(error.rawMessage.length).toBeLessThan(2_000);
      expect(() => encodeURIComponent(error.rawMessage)).not.toThrow();
      expect(faults.length).toBeGreaterThan(0);
    }
    const { rawMessage } = invalidRequest(Array.from({ length: 300 }, () => ({ path: "a", message: "is odd" })));
    expect(rawMessage).toMatch(/; and \d+ more$/);
  });
});
