import type { SecurityBreakages } from "./breakage.ts";

const spending = "services/agent-orchestrator/src/spending";
const completions = "services/agent-orchestrator/src/completions";
const charged = [`${spending}/charged-calls.test.ts`];
const kinds = [`${spending}/output-kinds.test.ts`];
const ceiling = [`${spending}/ceiling.test.ts`];
const steering = [`${completions}/steering.test.ts`];
const held = [`${completions}/held-fields.test.ts`];

/** Guards on the cost of model calls and on their destination. */
export const spendingGuards: SecurityBreakages = {
  "spend-prompt-of-left-call": {
    file: `${spending}/charge.ts`,
    changes: [{ from: "if (!isTold) estimated += prompt = sizeOf().likely;", to: "" }],
    suite: charged,
    test: "leaves before the first text",
  },
  "spend-refused-call": {
    file: "services/agent-orchestrator/src/model/endpoint/attempts.ts",
    changes: [{ from: "witness?.onRefused();", to: "" }],
    suite: charged,
    test: "refuses before a model works on it",
  },
  "spend-each-try": {
    file: `${spending}/call-watch.ts`,
    changes: [{ from: "this.#tries += 1;", to: "this.#tries = 1;" }],
    suite: charged,
    test: "each attempt",
  },
  "spend-absurd-counts": {
    file: `${spending}/charge.ts`,
    changes: [{ from: "tokens > 0 && tokens * mostBytesPerToken >= textBytes - trustedBytes", to: "tokens > 0" }],
    suite: charged,
    test: "less than can be",
  },
  "spend-part-of-an-answer": {
    file: `${spending}/charge.ts`,
    changes: [{ from: "} else if (!isWhole && counted > told) {", to: "} else if (counted < 0) {" }],
    suite: charged,
    test: "fails in mid-stream",
  },
  "spend-cancelled-run": {
    file: "services/agent-orchestrator/src/graph/fail-run.ts",
    changes: [{ from: "await addUncommittedUsage(deps, run);\n    return;", to: "return;" }],
    suite: charged,
    test: "is cancelled is charged and stands in",
  },
  "spend-unknown-fields": {
    file: "services/agent-orchestrator/src/model/edge/output-count.ts",
    changes: [{ from: "if (!labels.has(key)) this", to: 'if (key === "delta" || key === "content") this' }],
    suite: kinds,
    test: "output as .* is counted",
  },
  "spend-beside-content": {
    file: "services/agent-orchestrator/src/model/edge/content-frame.ts",
    changes: [{ from: "if (!emptyAfter.test(frame)) return undefined;", to: "" }],
    suite: kinds,
    test: "reasoning_content beside content",
  },
  "spend-cut": {
    file: `${spending}/guarded-call.ts`,
    changes: [{ from: "if (output.tokens > paid) return growOrCut();", to: "" }],
    suite: kinds,
    test: "output as reasoning_content.*is cut at",
  },
  "spend-most-of-a-prompt": {
    file: `${spending}/guarded-call.ts`,
    changes: [
      {
        from: "await reservation.reserve(most + tokens * price.output);",
        to: "await reservation.reserve(likely + tokens * price.output);",
      },
    ],
    suite: ceiling,
    test: "one call more",
  },
  "spend-paid-retry": {
    file: "services/agent-orchestrator/src/model/endpoint/attempts.ts",
    changes: [{ from: "if (wasTouched) await witness?.mayRepeat();", to: "" }],
    suite: ceiling,
    test: "pays for each attempt",
  },
  "spend-wider-bound": {
    file: `${spending}/answer-bound.ts`,
    changes: [{ from: "return Math.max(older ?? 0, newer ?? 0);", to: "return newer ?? older ?? 0;" }],
    suite: ceiling,
    test: "wider of two bounds",
  },
  "steering-names": {
    file: `${completions}/steering-fields.ts`,
    changes: [{ from: 'if (isNamed && !isFree && isSteering(name, place === "")) {', to: "if (place === name) {" }],
    suite: steering,
    test: "without limits.*cannot choose its target by .* at any place",
  },
  "steering-folded-names": {
    file: `${completions}/steering-fields.ts`,
    changes: [{ from: '.normalize("NFKC")', to: "" }],
    suite: steering,
    test: "a long s",
  },
  "steering-names-with-escapes": {
    file: `${completions}/body.ts`,
    changes: [{ from: 'if (text[i] === "\\\\") return false;', to: "{}" }],
    suite: steering,
    test: "the engine takes for another one",
  },
  "steering-members-twice": {
    file: `${completions}/body.ts`,
    changes: [{ from: "return names === members;", to: "return true;" }],
    suite: steering,
    test: "without limits.*is sent as it was read",
  },
  "held-fields": {
    file: `${completions}/open-completion.ts`,
    changes: [{ from: "checkHeldFields(json.value, bounds, deps.extraFields);", to: "" }],
    suite: held,
    test: "has no field beyond OpenAI's|has no nested field beyond OpenAI's",
  },
  "held-prices": {
    file: `${completions}/held-fields.ts`,
    changes: [{ from: "if (possible !== undefined && !possible.has(value)) {", to: "if (kind === place) {" }],
    suite: held,
    test: "costs more than its price says",
  },
};
