import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { ErrorReason, fail } from "../errors.ts";
import { metadataOf, okTrailers, statusOfError } from "./grpc-metadata.ts";

test("an error whose message no encoding can hold has a status all the same", () => {
  const { code, details, metadata } = statusOfError(new ConnectError("half of \ud83d", Code.Aborted, { "x-kept": "yes" }));
  expect([code, details, metadata?.get("x-kept")]).toEqual([Code.Aborted, "half of \ufffd", ["yes"]]);
  expect(() => encodeURI(details ?? "")).not.toThrow();
});

test("an error of any length fits into the trailers of a call", () => {
  const error = fail(ErrorReason.INTERNAL, "語".repeat(100_000), { param: "é".repeat(500) });
  const { details = "", metadata } = statusOfError(error);
  expect(details.isWellFormed()).toBe(true);
  expect(details).toMatch(/^語+…$/);
  const sent = Object.values(metadata?.toHttp2Headers() ?? {}).join("").length + encodeURIComponent(details).length;
  expect(sent).toBeLessThan(60_000);
});

test("binary metadata is sent without padding, also from a copy", () => {
  const metadata = metadataOf({ "x-one-bin": "AA==", "x-two-bin": "AA==, AAA=", "x-text": "a=" });
  const sent = { "x-one-bin": "AA", "x-two-bin": ["AA", "AAA"], "x-text": "a=" };
  expect(metadata.toHttp2Headers()).toEqual(sent);
  expect(metadata.clone().toHttp2Headers()).toEqual(sent);
});

test("the trailers of a success have an empty status message", () => {
  expect(okTrailers(new Headers({ "x-done": "yes" })).toHttp2Headers()).toEqual({ "x-done": "yes", "grpc-message": "" });
});
