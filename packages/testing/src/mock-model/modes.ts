import { callQuirks } from "./call-quirks.ts";
import { type Plan, plainPlan } from "./plan.ts";
import type { Quirks } from "./quirk.ts";
import { errorForms, namedErrors } from "./refusal.ts";
import { refusingQuirks } from "./refusing-quirks.ts";
import { streamQuirks } from "./stream-quirks.ts";
import { textQuirks } from "./text-quirks.ts";
import { usageQuirks } from "./usage-quirks.ts";

/** A part of a model's name. */
export interface Mode {
  /** As users write it: `<n>` is a whole number, `<name>` a word of letters, digits and `_`. */
  readonly syntax: string;
  readonly about: string;
  readonly set: (plan: Plan, value: string) => void;
}

/** All quirks by name. */
export const quirks: Quirks = { ...callQuirks, ...textQuirks, ...streamQuirks, ...usageQuirks, ...refusingQuirks };

const mode = (syntax: string, about: string, set: Mode["set"]): Mode => ({ syntax, about, set });

/** Modes of the answer. */
const sayings: readonly Mode[] = [
  mode("words-<n>", "says n words", (plan, n) => {
    plan.words = Math.min(Number(n), 100_000);
  }),
  mode("size-<n>k", "says n KiB", (plan, n) => {
    plan.kibibytes = Math.min(Number(n), 65_536);
  }),
  mode("tool-<name>", "calls a tool, then answers with its result", (plan, name) => {
    plan.tool = name;
  }),
  mode("calls-<n>", "makes n calls in one round", (plan, n) => {
    plan.calls = Math.min(Number(n), 1_000);
  }),
  mode("rounds-<n>", "makes n rounds of calls", (plan, n) => {
    plan.rounds = Math.min(Number(n), 1_000);
  }),
  mode("bad-tool-json", "cuts the arguments of the first round's calls", (plan) => {
    plan.badArguments = "once";
    plan.tool ??= "calculator";
    plan.rounds ??= 2;
  }),
  mode("bad-tool-json-always", "cuts the arguments of all calls", (plan) => {
    plan.badArguments = "always";
    plan.tool ??= "calculator";
    plan.rounds ??= 1_000;
  }),
  mode("finish-<name>", "ends with this finish_reason, as `finish-length`", (plan, name) => {
    plan.finishReason = name;
  }),
  mode("strict", "refuses bodies that OpenAI refuses", (plan) => {
    plan.isStrict = true;
  }),
  mode("id-<n>", "nothing; tells models apart", () => {}),
];

/** Modes of failure. */
const faults: readonly Mode[] = [
  mode("times-<n>", "the faults meet the first n requests with the same messages; later ones are answered", (plan, n) => {
    plan.times = Number(n);
  }),
  mode("share-<n>", "the faults meet n of a hundred different requests", (plan, n) => {
    plan.share = Number(n);
  }),
  mode("delay-<n>ms", "waits before the head", (plan, n) => {
    plan.delayMs = Number(n);
  }),
  mode("drip", "waits 20 ms between two pieces of the body", (plan) => {
    plan.dripMs = 20;
  }),
  mode("drip-<n>ms", "waits between two pieces of the body", (plan, n) => {
    plan.dripMs = Number(n);
  }),
  mode("hang", "never answers", (plan) => {
    plan.hangAfter = 0;
  }),
  mode("hang-after-<n>", "falls silent after n pieces", (plan, n) => {
    plan.hangAfter = Number(n);
  }),
  mode("cut", "breaks the connection before the head", (plan) => {
    plan.cutAfter = 0;
  }),
  mode("cut-after-<n>", "breaks the connection after n pieces", (plan, n) => {
    plan.cutAfter = Number(n);
  }),
  mode("cut-at-<n>", "breaks the connection after n bytes of the body", (plan, n) => {
    plan.cutAtByte = Number(n);
  }),
  mode("end-after-<n>", "ends the response after n pieces, as if it were whole", (plan, n) => {
    plan.endAfter = Number(n);
  }),
  mode("status-<n>", "answers this status with an error, as `status-429`", (plan, n) => {
    plan.refusal = { status: Number(n) };
  }),
  mode("retry-after-<n>", "sends `Retry-After` in seconds", (plan, n) => {
    plan.headers["retry-after"] = n;
  }),
  mode("retry-after-ms-<n>", "sends `retry-after-ms`", (plan, n) => {
    plan.headers["retry-after-ms"] = n;
  }),
  mode("retry-after-date-<n>", "sends `Retry-After` as a date n seconds ahead", (plan, n) => {
    plan.dateAfterSeconds = Number(n);
  }),
  mode("garbage", "answers 200 with bytes that are no text", (plan) => {
    plan.body = "garbage";
  }),
  mode("html", "answers 200 with a page", (plan) => {
    plan.body = "html";
  }),
  mode("nothing", "answers 200 with an empty body", (plan) => {
    plan.body = "empty";
  }),
  mode("bad-json", "answers 200 with JSON that breaks off, in a body that is whole", (plan) => {
    plan.body = "bad-json";
  }),
  mode("no-content", "answers 204", (plan) => {
    plan.body = "no-content";
  }),
  mode("redirect", "answers 307 to another host", (plan) => {
    plan.body = "redirect";
  }),
  ...Object.entries(namedErrors).map(([name, { status, code }]) =>
    mode(`error-${name}`, `answers ${status}${code === null ? "" : ` \`${code}\``}`, (plan) => {
      plan.refusal = { status, name };
    }),
  ),
  ...Object.entries(errorForms).map(([name, about]) =>
    mode(`form-${name}`, `errors in the form of ${about}`, (plan) => {
      plan.errorForm = name as keyof typeof errorForms;
    }),
  ),
];

/** All modes, by the section of the documentation that lists them. */
export const modes: Readonly<Record<"answers" | "faults" | "quirks", readonly Mode[]>> = {
  answers: sayings,
  faults,
  quirks: Object.entries(quirks).map(([name, quirk]) =>
    mode(`quirk-${name}`, quirk.about, (plan) => void plan.quirks.push(quirk)),
  ),
};

const patterns = Object.values(modes)
  .flat()
  .map((one) => {
    const source = one.syntax.replace("<n>", "(\\d{1,9})").replace("<name>", "(\\w{1,64})");
    return { ...one, pattern: new RegExp(`^-${source}(?=-|$)`) };
  });

/** The longest mode at the start of a text. */
function firstMode(text: string): { set: Mode["set"]; value: string; length: number } | undefined {
  let longest: { set: Mode["set"]; value: string; length: number } | undefined;
  for (const { pattern, set } of patterns) {
    const match = pattern.exec(text);
    if (match !== null && match[0].length > (longest?.length ?? 0))
      longest = { set, value: match[1] ?? "", length: match[0].length };
  }
  return longest;
}

/** Reads a model's name: `mock` and modes, each after a hyphen. Undefined when it is none or has an unknown mode. */
export function planOf(model: string): Plan | undefined {
  if (!/^mock(?:-|$)/.test(model) || model.length > 1_000) return undefined;
  const plan = plainPlan();
  for (let rest = model.slice("mock".length); rest !== ""; ) {
    const found = firstMode(rest);
    if (found === undefined) return undefined;
    found.set(plan, found.value);
    rest = rest.slice(found.length);
  }
  return plan;
}
