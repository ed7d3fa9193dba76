import type { DescMessage, Message } from "@bufbuild/protobuf";
import type { ConnectError } from "@connectrpc/connect";
import { cutText, ErrorReason, fail } from "../errors.ts";
import { type FieldFault, fieldFaults, maxFaults } from "./field-faults.ts";
import { createRequestValidator } from "./request-validator.ts";

const validator = createRequestValidator();

function pathElement(element: { kind: string; name?: string; index?: number; key?: unknown }): string {
  if (element.kind === "list_sub") return `[${element.index}]`;
  if (element.kind === "map_sub") return `[${JSON.stringify(element.key)}]`;
  return `.${element.name}`;
}

/**
 * All faults of a request by the rules in the proto, and with `isFromOutside` also the values that no field may hold.
 * One fault for each field. Throws when the rules themselves are faulty.
 */
export function requestFaults(desc: DescMessage, message: Message, isFromOutside: boolean): readonly FieldFault[] {
  const held = isFromOutside ? fieldFaults(desc, message) : [];
  const result = validator.validate(desc, message);
  if (result.kind === "valid") return held;
  if (result.kind === "error") {
    // A rule cannot be computed with a value that no field may hold.
    if (held.length > 0) return held;
    throw result.error;
  }
  const faults = new Map(held.map((fault) => [fault.path, fault]));
  for (const { field, message: text } of result.violations) {
    const path = field.map(pathElement).join("").replace(/^\./, "");
    if (!faults.has(path)) faults.set(path, { path, message: text });
  }
  return [...faults.values()];
}

/** Limits of an error that lists faults, because it also crosses as a header: characters, and bytes in all. */
const [maxParam, maxText, maxMessage, maxBytes] = [200, 500, 1_000, 3_000];

const worded = ({ path, message }: FieldFault): string => `${path || "request"}: ${message}`;

/**
 * INVALID_REQUEST with faults of a request, of which there is at least one: the first as `param`, all of them in the
 * message and the list, as far as there is room.
 */
export function invalidRequest(faults: readonly FieldFault[], cause?: unknown): ConnectError {
  const listed: FieldFault[] = [];
  let bytes = 0;
  for (const { path, message } of faults.slice(0, maxFaults)) {
    const fault = { path: cutText(path, maxParam), message: cutText(message, maxText) };
    bytes += Buffer.byteLength(worded(fault));
    if (listed.length > 0 && bytes > maxBytes) break;
    listed.push(fault);
  }
  const [first = { path: "", message: "is not valid" }, ...others] = listed;
  let text = worded(first);
  let named = 1;
  for (const fault of others) {
    if (text.length + worded(fault).length > maxMessage) break;
    text += `; ${worded(fault)}`;
    named += 1;
  }
  if (named < faults.length) text += `; and ${faults.length - named} more`;
  return fail(ErrorReason.INVALID_REQUEST, text, {
    param: first.path,
    faults: listed.map(({ path, message }) => ({ param: path, message })),
    cause,
  });
}
