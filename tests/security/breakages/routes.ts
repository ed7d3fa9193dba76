import type { SecurityBreakages } from "./breakage.ts";

const calls = "services/agent-orchestrator/src/model-calls";
const routes = "services/agent-orchestrator/src/model/routes";
const fallback = [`${calls}/fallback.test.ts`];
const file = [`${routes}/models-file.test.ts`];

/** Guards on fallbacks to other providers, and on the secrets of a models file. */
export const routeGuards: SecurityBreakages = {
  "route-allowed-fallback": {
    file: `${calls}/attempts.ts`,
    changes: [{ from: "model === own || allows(call.identity.allowedModels, model)", to: "model !== undefined" }],
    suite: fallback,
    test: "token may not use the fallback",
  },
  "route-words-of-others": {
    file: `${calls}/attempts.ts`,
    changes: [{ from: "return fail(reason, text, {", to: "return fail(reason, text + last, {" }],
    suite: fallback,
    test: "tells at once when to come back",
  },
  "route-glued-text": {
    file: `${calls}/attempts.ts`,
    changes: [{ from: "if (isShown && onFailedAttempt === undefined) throw error;", to: "" }],
    suite: fallback,
    test: "has shown text",
  },
  "route-own-fields": {
    file: "services/agent-orchestrator/src/completions/round-requests.ts",
    changes: [{ from: "isFrom(giver, receiver) ? request", to: "receiver !== giver ? request" }],
    suite: fallback,
    test: "own fields back to that provider alone",
  },
  "route-hidden-header": {
    file: `${routes}/models-file.ts`,
    changes: [{ from: "hidden.push(value);", to: "" }],
    suite: fallback,
    test: "which no error shows",
  },
  "route-key-in-fault": {
    file: `${routes}/models-file.ts`,
    changes: [{ from: 'if (found === "") faults', to: 'if (found !== "") faults.push(found);\n    if (found === "") faults' }],
    suite: file,
    test: "shows a key's value",
  },
};
