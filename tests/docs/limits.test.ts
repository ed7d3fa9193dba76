import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const root = join(import.meta.dirname, "../..");
const text = (path: string) => readFileSync(join(root, path), "utf8");

/** `1 MiB`, `200,000 characters` or `128` as a number. */
function amount(cell: string): number {
  const [, digits = "", unit = ""] = /^([\d,]+)(?: (MiB|characters))?$/.exec(cell) ?? [];
  return digits === "" ? Number.NaN : Number(digits.replaceAll(",", "")) * (unit === "MiB" ? 1_048_576 : 1);
}

/** The value of a rule of a proto's field, named as `Message.field.rule`. */
function ruleOf(proto: string, name: string): number {
  const [message = "", field = "", rule = ""] = name.split(".");
  const body = proto.split(`\nmessage ${message} {`)[1]?.split("\n}")[0] ?? "";
  const declared = new RegExp(`\\b${field} = \\d+ \\[([^;]*)`).exec(body)?.[1] ?? "";
  return Number(new RegExp(`\\b${rule}(?: =|:) (\\d+)`).exec(declared)?.[1] ?? "no such rule");
}

/** The value of a constant, or the default of a variable, that is written as a product of numbers. */
function constantOf(source: string, name: string): number {
  const listed = /const \[([\w, ]+)\] = \[([\d_, ]+)\]/.exec(source);
  const place = listed?.[1]?.split(", ").indexOf(name) ?? -1;
  const direct = new RegExp(`\\b${name}(?: =|: integer\\()\\s?([\\d_* ]+)[;,)]`).exec(source)?.[1];
  const written = direct ?? listed?.[2]?.split(", ")[place] ?? "no such constant";
  return written.split("*").reduce((product, factor) => product * Number(factor.replaceAll("_", "")), 1);
}

const rows = text("docs/limits.md")
  .split("\n")
  .flatMap((line) => {
    const [, what = "", most = "", path = "", name = ""] = /^\| (.+) \| ([^|]+) \| `([^`]+)` `([^`]+)` \|$/.exec(line) ?? [];
    return path === "" ? [] : [{ what, most, path, name }];
  });

test("docs/limits.md has a row for each limit of what clients send, models make and responses have", () => {
  expect(rows.length).toBeGreaterThan(30);
  const tableLines = text("docs/limits.md").match(/^\| [^-W].*$/gm) ?? [];
  expect(rows).toHaveLength(tableLines.length);
});

test.each(rows)("docs/limits.md tells the limit of the code: $what", ({ most, path, name }) => {
  const value = path.endsWith(".proto") ? ruleOf(text(path), name) : constantOf(text(path), name);
  expect(value).not.toBeNaN();
  expect(value).toBe(amount(most));
});
