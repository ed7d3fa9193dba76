import type { SecurityBreakages } from "./breakage.ts";

const deciders = ["services/conversation/src/deciders.test.ts"];
const rights = ["services/auth/src/handlers/key-rights.test.ts"];
const makers = ["services/conversation/src/webhooks/makers.test.ts"];

/** Guards on the rights of keys and on what outlives a key. */
export const keys: SecurityBreakages = {
  "decider-kinship": {
    file: "services/conversation/src/store/approvals.ts",
    changes: [{ from: "checkKinship(decider, parked);", to: "" }],
    suite: [...deciders, "tests/security/key-families.test.ts"],
    test: "one of its family|refused at every door",
  },
  "decider-unknown-family": {
    file: "services/conversation/src/deciders.ts",
    changes: [{ from: 'run.family_id !== null && decider.familyId !== "" && ', to: "" }],
    suite: deciders,
  },
  "decider-tools": {
    file: "services/conversation/src/store/approvals.ts",
    changes: [{ from: "checkTools(decider, toolsOf(round, made));", to: "" }],
    suite: [...deciders, "tests/security/key-families.test.ts"],
    test: "own tools|refuses all of a decision|refused at every door",
  },
  "reviewer-kinship": {
    file: "services/conversation/src/store/resume-run.ts",
    changes: [{ from: "checkKinship(decider, rows[0]);", to: "" }],
    suite: deciders,
    test: "a run in review",
  },
  "reviewer-is-checked-first": {
    file: "services/agent-orchestrator/src/handlers/runs.ts",
    changes: [{ from: "await deps.journal.checkDecider({ runId }, forward(ctx, { timeoutMs: 15_000 }));", to: "" }],
    suite: ["tests/security/key-families.test.ts"],
    test: "a review is a decision",
  },
  "reviewer-tools": {
    file: "services/tool-executor/src/handlers/settle-calls.ts",
    changes: [{ from: "if (!allows(allowedTools, end.toolName)) {", to: "if (false) {" }],
    suite: ["services/tool-executor/src/handlers/settle-calls.test.ts"],
  },
  "run-family": {
    file: "services/conversation/src/store/begin-run/opening.ts",
    changes: [{ from: "family_id: familyId || null,", to: "family_id: null," }],
    suite: deciders,
  },
  "method-scopes": {
    file: "packages/platform/src/rpc/interceptors.ts",
    changes: [{ from: "if (service === gatewayService) admitScope(identity, scopesNamed);", to: "" }],
    suite: ["tests/security/method-access.test.ts", "tests/security/key-scopes.test.ts"],
  },
  "scopes-of-new-keys": {
    file: "services/auth/src/api-key-policy.ts",
    changes: [{ from: 'scopes: subset("scopes", asked.scopes, caller.scopes),', to: "scopes: asked.scopes," }],
    suite: rights,
  },
  "may-approve-of-new-keys": {
    file: "services/auth/src/api-key-policy.ts",
    changes: [{ from: "throughKey && asked.mayApprove && !caller.mayApprove", to: "false" }],
    suite: rights,
  },
  "webhooks-of-revoked-keys": {
    file: "services/conversation/src/webhooks/makers.ts",
    changes: [{ from: "changed.add(tokenId);", to: "" }],
    suite: makers,
  },
  "webhooks-after-a-start": {
    file: "services/conversation/src/webhooks/makers.ts",
    changes: [{ from: "let isAll = true;", to: "let isAll = false;" }],
    suite: makers,
    test: "after a start",
  },
  "webhooks-of-keys-ended-during-creation": {
    file: "services/conversation/src/webhooks/makers.ts",
    changes: [{ from: ": await endWith([maker.id]);", to: ": new Set<string>();" }],
    suite: makers,
    test: "during the request: nothing is left",
  },
  "webhook-deliveries-under-way": {
    file: "services/conversation/src/webhooks/worker.ts",
    changes: [{ from: "for (const controller of byTie.get(id)) controller.abort();", to: "" }],
    suite: makers,
    test: "stops deliveries in flight",
  },
  "webhooks-of-keys-that-end-by-themselves": {
    file: "services/conversation/src/store/webhook-makers.ts",
    changes: [{ from: 'disableSql("api_key_expires_at <= now()")', to: 'disableSql("false")' }],
    suite: makers,
  },
  "webhooks-that-change-hands": {
    file: "services/conversation/src/store/webhooks.ts",
    changes: [{ from: '"($3 <> url or ($6 and not enabled))"', to: '"false"' }],
    suite: makers,
  },
};
