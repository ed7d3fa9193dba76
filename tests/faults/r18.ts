import { quirks } from "@turnwright/testing/mock-model/modes";
import { refusalFor } from "@turnwright/testing/mock-model/strict";
import { eventually, newUser, type Surface, surfaces } from "../endpoints/user.ts";
import { seeded } from "../security/long/stage.ts";
import { inParallel } from "./cell.ts";
import type { FaultStage } from "./fault-stage.ts";
import { tally, type Verdict } from "./verdict.ts";

/** Quirks that leave no answer. */
const withoutAnswer = /^error-|^finish-error$|^null-answer$/;
/** Quirks whose answer is not the text that the mock model says. */
const withoutText = new Set([
  "empty",
  "many-calls",
  "empty-name",
  "long-name",
  "nul-name",
  "arguments-null",
  "length-with-calls",
]);
const plainText = "word0 word1 word2 word3 word4 word5";

/** A kind of endpoint: its quirk, with text or with calls. */
export interface Kind {
  readonly modes: string;
  /** Whether a text may be the whole answer, in spite of a fault. */
  readonly isWhole: (text: string, fault: string) => boolean;
}

/**
 * The results of both calls. A stream that ends after calls without a finish_reason is whole by the habit of some
 * endpoints; it may then have but one.
 */
const resultsOf = (fault: string) =>
  fault.startsWith("-end") ? /^The tools said: / : /^The tools said: .*"result":5.*"result":5/;

/** An endpoint with these quirks, once with text and once with calls. */
function kindsWith(...names: string[]): Kind[] {
  const isNever = names.some((name) => withoutAnswer.test(name));
  const isAny = names.some((name) => withoutText.has(name));
  const modes = names.map((name) => `quirk-${name}`).join("-");
  return [
    { modes: `words-6-${modes}`, isWhole: (text) => !isNever && (isAny || text === plainText) },
    { modes: `tool-calculator-calls-2-${modes}`, isWhole: (text, fault) => !isNever && (isAny || resultsOf(fault).test(text)) },
  ];
}

/** Kinds of endpoint: each quirk of the mock model. */
export const kinds: readonly Kind[] = Object.keys(quirks).flatMap((name) => kindsWith(name));

/** Endpoints with two quirks that leave the answer's text alone. */
function pairs(count: number, random: () => number): Kind[] {
  const names = Object.keys(quirks).filter((name) => !withoutText.has(name) && name !== "refusal");
  const any = () => names[Math.floor(random() * names.length)] ?? "gzip";
  return Array.from({ length: count }, () => kindsWith(any(), any())).flat();
}

const ownFields = ["reasoning_content", "reasoning", "reasoning_details", "extra_content"];

/** A request without the fields that this provider has given and wants back. */
function withoutOwnFields(body: unknown): unknown {
  const text = JSON.stringify(body, (key, value) => (ownFields.includes(key) ? undefined : value));
  return text === undefined ? undefined : JSON.parse(text);
}

/** A fault for a number in [0, 1): a cut at any byte, an end after any piece, or none. */
function faultOf(at: number): string {
  if (at < 0.6) return `-cut-at-${Math.floor((at / 0.6) * 2_500)}`;
  if (at < 0.9) return `-end-after-${Math.floor(((at - 0.6) / 0.3) * 14)}`;
  return "";
}

/** Row R18: `count` answers of each kind of endpoint, and half as many of pairs, cut anywhere, the surfaces in turn. */
export async function oddModels(stage: FaultStage, options: { count: number; atOnce: number; seed: number }): Promise<Verdict> {
  const user = await newUser(stage.system.baseUrl);
  const random = seeded(options.seed);
  const single = kinds.flatMap((kind) => Array.from({ length: options.count }, () => kind));
  const double = pairs(Math.ceil(single.length / 4), random);
  const requests = [...single, ...double].map((kind) => ({ kind, fault: faultOf(random()) }));
  const breaches: string[] = [];
  const broken = (what: string, model: string, surface: Surface) => breaches.push(`${what}: ${surface}, model ${model}`);
  const ends = await inParallel(requests.length, options.atOnce, async (index) => {
    const { kind, fault } = requests[index] as (typeof requests)[number];
    const surface = surfaces[index % surfaces.length] as Surface;
    const model = `mock-${kind.modes}${fault}-id-${index}`;
    const ask = { timeoutMs: 30_000 };
    // The turn is the second of its conversation, so that its history is sent again afterwards.
    const first = surface === "stored" ? await user.say("hello", { model: "mock" }) : undefined;
    const conversation: string | undefined = first?.json?.data?.conversation_id;
    const outcome = await user.ask(surface, `question ${index}`, model, { ...ask, conversation }).catch(() => undefined);
    if (outcome === undefined) broken("no end within 30 s", model, surface);
    else if (outcome.isWhole && !kind.isWhole(outcome.text, fault))
      broken(`silent truncation or wrong answer ${JSON.stringify(outcome.text)}`, model, surface);
    else if (outcome.status === 500) broken("an error of our own (500)", model, surface);
    else if (!outcome.isWhole && outcome.error === undefined) broken("neither an answer nor an error", model, surface);
    if (conversation !== undefined) {
      const next = await user.ask("stored", `after ${index}`, "mock-quirk-alternate", { ...ask, conversation });
      const refused = refusalFor(withoutOwnFields(stage.requests.about(`after ${index}`).at(-1)?.body));
      if (!next.isWhole) broken(`the next message fails with ${next.status} ${next.error?.message}`, model, surface);
      else if (refused !== undefined) broken(`the next message is refused by OpenAI: ${refused.message}`, model, surface);
    }
    return outcome === undefined ? "no end" : outcome.isWhole ? "whole" : `error ${outcome.status}`;
  });
  const isServing = await stage.isServing();
  if (!isServing) breaches.push("the process ended");
  const open = isServing
    ? await eventually(
        () => user.openRuns(),
        (ids) => ids.length === 0,
        30_000,
      )
    : [];
  if (open.length > 0) breaches.push(`${open.length} runs left running: ${open.slice(0, 3).join(", ")}`);
  const other = isServing ? await newUser(stage.system.baseUrl) : undefined;
  await other?.ask("completion", "hello");
  const usage = await eventually(
    async () => other?.usage(),
    (total) => total?.requests === 1,
    10_000,
  );
  if (isServing && usage?.requests !== 1) breaches.push("the usage of another user is held up");
  const count = (what: RegExp) => breaches.filter((breach) => what.test(breach)).length;
  const figures = [
    `${kinds.length} kinds of endpoint × ${options.count} and ${double.length} pairs of quirks`,
    tally(ends),
    `silent truncations or wrong answers ${count(/^silent/)}`,
    `runs left running ${open.length}`,
    `histories that cannot be sent ${count(/^the next message/)}`,
    `records held up ${count(/held up/)}`,
    `process ends ${isServing ? 0 : 1}`,
  ].join("; ");
  return { figures, breaches };
}
