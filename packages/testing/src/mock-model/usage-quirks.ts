import type { Quirk, Quirks } from "./quirk.ts";
import type { Answer, Reply } from "./reply.ts";

const answersOf = (reply: Reply): Answer[] =>
  [...reply.events, reply.whole].filter((one): one is Answer => typeof one === "object" && !Array.isArray(one));

/** Counts of an endpoint: each `usage` is replaced. */
function counts(about: string, usage: (told: Reply["draft"]["usage"]) => unknown): Quirk {
  return {
    about,
    alter: (reply) => {
      for (const answer of answersOf(reply)) if (answer.usage != null) answer.usage = usage(reply.draft.usage);
    },
  };
}

/** Habits in how tokens are counted. */
export const usageQuirks: Quirks = {
  "usage-none": {
    about: "no counts, whatever is asked for",
    alter: (reply) => {
      reply.events = reply.events.filter((event) => typeof event === "string" || event.choices?.length !== 0);
      for (const answer of answersOf(reply)) delete answer.usage;
    },
  },
  "usage-null": counts("`usage: null`", () => null),
  "usage-list": counts("`usage: []`", () => []),
  "usage-nulls": counts("each count is null", () => ({ prompt_tokens: null, completion_tokens: null, total_tokens: null })),
  "usage-text": counts("counts are text", (told) => ({
    prompt_tokens: String(told.prompt_tokens),
    completion_tokens: String(told.completion_tokens),
  })),
  "usage-fraction": counts("counts have fractions", () => ({
    prompt_tokens: 12.5,
    completion_tokens: 3.25,
    total_tokens: 15.75,
  })),
  "usage-negative": counts("counts are below zero", () => ({ prompt_tokens: -100, completion_tokens: -5, total_tokens: -105 })),
  "usage-huge": counts("counts beyond 64 bits", () => ({ prompt_tokens: 1e300, completion_tokens: 1e20, total_tokens: 1e300 })),
  "usage-total": counts("the total alone", (told) => ({ total_tokens: told.total_tokens })),
  "usage-anthropic": counts("`input_tokens` and `output_tokens`", (told) => ({
    input_tokens: told.prompt_tokens,
    output_tokens: told.completion_tokens,
  })),
  "usage-null-details": counts("details are null", (told) => ({
    ...told,
    prompt_tokens_details: null,
    completion_tokens_details: { reasoning_tokens: null },
  })),
  "usage-each-chunk": {
    about: "counts so far on each chunk, and no chunk for them alone",
    alter: (reply) => {
      const { usage } = reply.draft;
      let completion_tokens = 0;
      const isCounted = (event: Answer | string) => typeof event === "string" || event.choices?.length !== 0;
      reply.events = reply.events.filter(isCounted);
      for (const [index, event] of reply.events.entries()) {
        if (typeof event === "string") continue;
        const isLast = index === reply.events.length - 1;
        completion_tokens = isLast ? usage.completion_tokens : Math.min(completion_tokens + 1, usage.completion_tokens);
        event.usage = { ...usage, completion_tokens, total_tokens: usage.prompt_tokens + completion_tokens };
      }
    },
  },
};
