import { type DescEnum, type DescEnumValue, getOption } from "@bufbuild/protobuf";
import { mapping, type ReasonMapping } from "../../gen/turnwright/errors/v1/reason_pb.ts";
import { descriptionOf } from "../openapi/comments.ts";

/** One reason with its mapping and the two parts of its comment. */
export interface ReasonEntry {
  /** Name without the prefix of the enum: `NOT_FOUND`. */
  readonly name: string;
  readonly number: number;
  readonly mapping: Pick<ReasonMapping, "grpcCode" | "httpStatus" | "type" | "code" | "openaiCode">;
  readonly cause: string;
  readonly remedy: string;
}

const sentence = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

function entryOf(value: DescEnumValue): ReasonEntry {
  const parts = /^Cause: (?<cause>.+)\n\nRemedy: (?<remedy>.+)$/.exec(descriptionOf(value) ?? "")?.groups;
  if (parts === undefined) {
    throw new Error(`${value.name}: its comment must have a paragraph "Cause: …" and a paragraph "Remedy: …"`);
  }
  const { cause = "", remedy = "" } = parts;
  return {
    name: value.name.replace(/^ERROR_REASON_/, ""),
    number: value.number,
    mapping: getOption(value, mapping),
    cause: sentence(cause),
    remedy: sentence(remedy),
  };
}

/**
 * The reasons of errors/v1/reason.proto in the order of their numbers. Needs a descriptor with comments. Throws for a
 * value whose comment lacks a cause or a remedy.
 */
export function reasonEntries(reasons: DescEnum): ReasonEntry[] {
  return reasons.values.map(entryOf).sort((a, b) => a.number - b.number);
}
