import type { AnyDesc, DescFile } from "@bufbuild/protobuf";
import { getComments } from "@bufbuild/protoplugin";

/** Leading comment of an element, with lines joined and paragraphs kept. Undefined if there is none. */
export function descriptionOf(desc: Exclude<AnyDesc, DescFile>): string | undefined {
  const leading = getComments(desc).leading;
  if (leading === undefined) return undefined;
  const paragraphs = leading.split(/\n\s*\n/).map((paragraph) =>
    paragraph
      .split("\n")
      .map((line) => line.trim())
      .join(" ")
      .trim(),
  );
  return paragraphs.filter((paragraph) => paragraph !== "").join("\n\n") || undefined;
}

/** First sentence of a description, without its full stop. */
export function summaryOf(description: string): string {
  const [first = description] = description.split(/(?<=[.!?])\s/);
  return first.replace(/\.$/, "");
}
