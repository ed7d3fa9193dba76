import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorReasonSchema } from "@turnwright/contract/errors/v1/reason";
import { describe, expect, test } from "vitest";
import { detailOf, ErrorReason, fail, mappingOf, reasonName, reasonOf } from "./errors.ts";

describe("errors", () => {
  test("take code and status from the table in the proto, for every reason", () => {
    for (const { number, name } of ErrorReasonSchema.values.filter((value) => value.number !== 0)) {
      const reason = number as ErrorReason;
      const { grpcCode, httpStatus, type } = mappingOf(reason);
      expect(Code[grpcCode], name).toBeDefined();
      expect(httpStatus, name).toBeGreaterThanOrEqual(400);
      expect(type, name).not.toBe("");
      expect(fail(reason, "message").code, name).toBe(grpcCode);
      expect(reasonOf(fail(reason, "message")), name).toBe(number);
    }
    expect(mappingOf(ErrorReason.RATE_LIMITED)).toMatchObject({ grpcCode: Code.ResourceExhausted, httpStatus: 429 });
    expect(mappingOf(9_999 as ErrorReason)).toMatchObject({ grpcCode: Code.Internal, httpStatus: 500 });
  });

  test("keep field, retry delay and cause", () => {
    const cause = new Error("why");
    const error = fail(ErrorReason.RATE_LIMITED, "Slow down.", { param: "message", retryAfterSeconds: 3, cause });
    expect(detailOf(error)).toMatchObject({ param: "message", retryAfterSeconds: 3 });
    expect(error.cause).toBe(cause);
    expect(detailOf(new Error("other"))).toBeUndefined();
  });

  test("without a detail map to the closest reason for their code", () => {
    expect(reasonOf(new ConnectError("x", Code.NotFound))).toBe(ErrorReason.NOT_FOUND);
    expect(reasonOf(new ConnectError("x", Code.Unavailable))).toBe(ErrorReason.UNAVAILABLE);
    expect(reasonOf(new ConnectError("x", Code.DataLoss))).toBe(ErrorReason.INTERNAL);
    expect(reasonOf(new DOMException("x", "AbortError"))).toBe(ErrorReason.CANCELLED);
    expect(reasonOf(new Error("x"))).toBe(ErrorReason.INTERNAL);
    expect(reasonOf("x")).toBe(ErrorReason.INTERNAL);
  });

  test("have names for logs", () => {
    expect(reasonName(ErrorReason.NOT_FOUND)).toBe("ERROR_REASON_NOT_FOUND");
    expect(reasonName(9_999 as ErrorReason)).toBe("ERROR_REASON_UNSPECIFIED");
  });
});
