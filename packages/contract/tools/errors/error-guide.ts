import type { DescEnum } from "@bufbuild/protobuf";
import { errorBody } from "../openapi/error-responses.ts";
import { type ReasonEntry, reasonEntries } from "./reason-entries.ts";
import { exampleFor } from "./reason-examples.ts";

const columns = 120;

/** Code of examples whose reason has none of its own. */
const endpointCode = "LOGIN_ERROR";

/** Names of google.rpc.Code, by number. */
const grpcCodes = [
  "OK",
  "CANCELLED",
  "UNKNOWN",
  "INVALID_ARGUMENT",
  "DEADLINE_EXCEEDED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
  "UNAUTHENTICATED",
];

/** Chapters of the guide, each from a number on. */
const chapters = [
  { from: 0, title: "Requests and the system" },
  { from: 100, title: "Accounts, credentials and spending" },
  { from: 200, title: "Models" },
  { from: 300, title: "Tools" },
  { from: 400, title: "Runs and approvals" },
] as const;

const introduction = [
  "# Errors",
  "Generated from `proto/turnwright/errors/v1/reason.proto` by `npm run generate`; do not edit.",
  "Every error has a reason. REST and the OpenAI surface send its code in the body; gRPC, gRPC-web and Connect send the " +
    "reason itself in the detail `turnwright.errors.v1.ErrorDetail`. Branch on the code or the reason, never on the message.",
  fenced({
    message: "message: must be at least 1 character",
    type: "invalid_request_error",
    code: "INVALID_REQUEST",
    param: "message",
    faults: [{ param: "message", message: "must be at least 1 character" }],
  }),
  "- `message` is for people and may change.\n" +
    "- `type` is OpenAI's class of errors.\n" +
    "- `param` is the field at fault, or null.\n" +
    "- `faults` lists all faulty fields of the request with their messages, `param` first; absent from other errors. The " +
    "list has up to 20 entries.\n" +
    "- `code` is for programs. Reasons without a code of their own take the endpoint's, such as `LOGIN_ERROR` or " +
    "`CHAT_ERROR`.\n" +
    "- Errors of a model's endpoint keep its `type`, `param` and words. On OpenAI's surface they have the endpoint's " +
    "`code`, or OpenAI's, such as `context_length_exceeded`.",
  "The header `x-request-id` names the request in the logs. `Retry-After` gives the seconds to wait, where they are known. " +
    "`Idempotent-Replayed: true` marks the stored outcome of an earlier request under the same `Idempotency-Key`; to try " +
    "a failed run again, send its message under a new key.",
  "Any request may fail with `INVALID_REQUEST`, `UNAUTHENTICATED`, `INVALID_TOKEN`, `TOKEN_EXPIRED`, `PERMISSION_DENIED`, " +
    "`RATE_LIMITED`, `TOO_LARGE`, `DEADLINE_EXCEEDED`, `CANCELLED`, `UNAVAILABLE`, `DATABASE_UNAVAILABLE` or `INTERNAL`. The descriptions " +
    "of the endpoints name the other reasons.",
];

/** Breaks a paragraph or the items of a list into lines of at most 120 columns. */
function wrapped(text: string): string {
  const lines: string[] = [];
  for (const item of text.split("\n")) {
    const indent = item.startsWith("- ") ? "  " : "";
    let line = "";
    // A code span is one word.
    for (const word of item.match(/(?:`[^`]*`|\S)+/g) ?? []) {
      if (line !== "" && line.length + 1 + word.length > columns) {
        lines.push(line);
        line = indent + word;
      } else line = line === "" ? word : `${line} ${word}`;
    }
    lines.push(line);
  }
  return lines.join("\n");
}

function fenced(error: Parameters<typeof errorBody>[0]): string {
  return `\`\`\`json\n${JSON.stringify(errorBody(error), null, 2)}\n\`\`\``;
}

const grpcOf = ({ mapping }: ReasonEntry) => grpcCodes[mapping.grpcCode] ?? String(mapping.grpcCode);
const codeOf = ({ mapping }: ReasonEntry) => (mapping.code === "" ? "the endpoint's" : `\`${mapping.code}\``);

function table(entries: readonly ReasonEntry[]): string {
  const rows = entries.map((entry) => {
    const { name, mapping } = entry;
    return `| [${name}](#${name.toLowerCase()}) | ${mapping.httpStatus} | ${codeOf(entry)} | \`${mapping.type}\` | ${grpcOf(entry)} |`;
  });
  return ["| Reason | HTTP | Code | Type | gRPC |", "|---|---|---|---|---|", ...rows].join("\n");
}

function section(entry: ReasonEntry): string[] {
  const { name, number, mapping, cause, remedy } = entry;
  const { httpStatus, type, grpcCode, openaiCode } = mapping;
  const example = exampleFor(number);
  // Other bodies differ in code and message only.
  const shown = example?.param !== undefined || mapping.code === "" ? example : undefined;
  return [
    `### ${name}`,
    `HTTP ${httpStatus}; code: ${codeOf(entry)}${openaiCode && `, for OpenAI's clients \`${openaiCode}\``}; type: \`${type}\`; gRPC: ${grpcOf(entry)} (${grpcCode}).`,
    `**Cause.** ${cause}`,
    `**Remedy.** ${remedy}`,
    ...(shown === undefined ? [] : [fenced({ ...shown, type, code: mapping.code || endpointCode })]),
  ];
}

/** docs/errors.md: each reason with its status, codes, cause and remedy. Throws as `reasonEntries` does. */
export function errorGuide(reasons: DescEnum): string {
  const entries = reasonEntries(reasons);
  const paragraphs = [...introduction, table(entries)];
  chapters.forEach(({ from, title }, index) => {
    const end = chapters[index + 1]?.from ?? Number.POSITIVE_INFINITY;
    const own = entries.filter(({ number }) => number >= from && number < end);
    paragraphs.push(`## ${title}`, ...own.flatMap(section));
  });
  const isProse = (text: string) => !/^(?:#|\||```)/.test(text);
  return `${paragraphs.map((text) => (isProse(text) ? wrapped(text) : text)).join("\n\n")}\n`;
}
