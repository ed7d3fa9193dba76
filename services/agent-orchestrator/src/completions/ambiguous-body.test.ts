import fc from "fast-check";
import { expect, test } from "vitest";
import { isAmbiguous } from "./body.ts";
import { refuseSteering } from "./steering-fields.ts";

interface Written {
  readonly text: string;
  readonly members: number;
  /** A member is repeated, or its name has escapes. */
  readonly isOdd: boolean;
}

/** JSON objects in the ways that clients may write them. */
const written = fc.letrec<{ leaf: Written; value: Written; object: Written; list: Written }>((tie) => ({
  leaf: fc
    .oneof(fc.string(), fc.constantFrom('":', '\\":"', "::", "a: b"), fc.integer())
    .map((value) => ({ text: JSON.stringify(value), members: 0, isOdd: false })),
  value: fc.oneof({ depthSize: "small" }, tie("leaf"), tie("object"), tie("list")),
  object: fc
    .array(fc.tuple(fc.constantFrom("a", "b", "c: d", "é", "x", '"'), tie("value"), fc.constantFrom("", " ", "\n")), {
      maxLength: 4,
    })
    .map((members) => ({
      text: `{${members.map(([name, value, space]) => `${JSON.stringify(name)}${space}:${space}${value.text}`).join(",")}}`,
      members: members.reduce((sum, [, value]) => sum + 1 + value.members, 0),
      isOdd:
        new Set(members.map(([name]) => name)).size < members.length ||
        members.some(([name, value]) => name === '"' || value.isOdd),
    })),
  list: fc.array(tie("value"), { maxLength: 3 }).map((items) => ({
    text: `[${items.map((item) => item.text).join(",")}]`,
    members: items.reduce((sum, item) => sum + item.members, 0),
    isOdd: items.some((item) => item.isOdd),
  })),
})).object;

test("a body is ambiguous exactly when it has a repeated member, a name with escapes or invalid UTF-8", () => {
  const seen = { odd: 0, plain: 0 };
  fc.assert(
    fc.property(written, ({ text, members, isOdd }) => {
      const read = refuseSteering(JSON.parse(text), new Set());
      if (!isOdd) expect(read).toBe(members);
      expect(isAmbiguous(Buffer.from(text), text, read)).toBe(isOdd);
      seen[isOdd ? "odd" : "plain"] += 1;
    }),
    { numRuns: 1_000 },
  );
  expect(Math.min(seen.odd, seen.plain)).toBeGreaterThan(50);
  const cut = Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]);
  expect(isAmbiguous(cut, cut.toString(), 1)).toBe(true);
});
