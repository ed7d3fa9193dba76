import { expect, test } from "vitest";
import { titleOf } from "./title.ts";

test.each([
  { message: "Hello", title: "Hello" },
  { message: "  two\n\tlines \r\n and more  ", title: "two lines and more" },
  { message: "x".repeat(101), title: "x".repeat(100) },
  { message: "😀".repeat(2_000), title: "😀".repeat(100) },
  { message: `${"y".repeat(99)} z`, title: "y".repeat(99) },
  { message: " \n ", title: "" },
])("makes one line of at most 100 characters: $title", ({ message, title }) => {
  expect(titleOf(message)).toBe(title);
});
