import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { DescEnum } from "@bufbuild/protobuf";
import { beforeAll, describe, expect, test } from "vitest";
import { ErrorReasonSchema } from "../../gen/turnwright/errors/v1/reason_pb.ts";
import { workspaceRoot } from "../buf.ts";
import { describeProtos } from "../openapi/described-protos.ts";
import { errorGuide } from "./error-guide.ts";
import { reasonEntries } from "./reason-entries.ts";

let reasons: DescEnum;

beforeAll(() => {
  const found = describeProtos()
    .files.flatMap((file) => file.enums)
    .find(({ typeName }) => typeName === ErrorReasonSchema.typeName);
  if (found === undefined) throw new Error("the protos have no ErrorReason");
  reasons = found;
});

describe("the guide to errors", () => {
  test("has a cause and a remedy for every reason", () => {
    const entries = reasonEntries(reasons);
    expect(entries.map(({ number }) => number).sort()).toEqual(ErrorReasonSchema.values.map(({ number }) => number).sort());
    for (const { name, cause, remedy } of entries) {
      expect(cause, name).toMatch(/^[A-Z`].*\.$/);
      expect(remedy, name).toMatch(/^[A-Z`].*\.$/);
    }
  });

  test("refuses a reason whose comment has no remedy, and names it", () => {
    // Generated code carries no comments.
    expect(() => reasonEntries(ErrorReasonSchema)).toThrow(/^ERROR_REASON_UNSPECIFIED: .*"Remedy: …"$/);
  });

  test("is the committed one", () => {
    expect(errorGuide(reasons)).toBe(readFileSync(join(workspaceRoot, "docs/errors.md"), "utf8"));
  });

  test("has a section and a row for every reason, in lines of at most 120 columns outside of tables", () => {
    const lines = errorGuide(reasons).split("\n");
    for (const { name } of reasonEntries(reasons)) {
      expect(lines).toContain(`### ${name}`);
      expect(lines.filter((line) => line.startsWith(`| [${name}](`))).toHaveLength(1);
    }
    expect(lines.filter((line) => line.length > 120 && !line.startsWith("|"))).toEqual([]);
  });
});
