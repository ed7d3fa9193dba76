import type { SecurityBreakages } from "./breakage.ts";

const system = ["tests/security/callers.test.ts"];
const orchestrator = ["services/agent-orchestrator/src/runs/starter.test.ts"];

/** Guards on the identity under which a run acts, and on what a person approves. */
export const starter: SecurityBreakages = {
  /** A decided run continues with the tools, models and token of the decider. */
  "run-starter": {
    file: "services/agent-orchestrator/src/runs/take-over.ts",
    changes: [
      {
        from: 'import { type Starter, traceOf } from "./caller.ts";',
        to: 'import { callerAsStarter, type Starter, traceOf } from "./caller.ts";',
      },
      {
        from: "  const handle = await takeOver(deps, context, { start, headers: traceOf(ctx), secretVersion, isAwaited: true });",
        to: `  if (run.node === "act") {
    const decider = callerAsStarter(ctx);
    const { agent, state } = settleAgent(deps, JSON.parse(run.state), context, routedAgent(""));
    const identity = { ...decider.identity, tokenId: run.tokenId };
    return launch(deps, { ...decider, identity }, context, { node: "act", agent, state });
  }
  const handle = await takeOver(deps, context, { start, headers: traceOf(ctx), secretVersion });`,
      },
    ],
    suite: system,
    test: "all-in-one.*(at the key's expense|was revoked meanwhile|logs out)",
  },
  "run-identity": {
    file: "services/agent-orchestrator/src/runs/launch.ts",
    changes: [
      { from: "if (run.userId !== identity.userId || run.tokenId !== identity.tokenId) {", to: "if (run.userId === '') {" },
    ],
    suite: orchestrator,
    test: "driven only as the credential that started it",
  },
  /** The end of a credential announced while auth mints for it is missed. */
  "run-mint-race": {
    file: "services/agent-orchestrator/src/runs/take-over.ts",
    changes: [{ from: "if (!told.signal.aborted) return act(starter);", to: "return act(starter);" }],
    suite: orchestrator,
    test: "ends while auth mints",
  },
  "run-late-message": {
    file: "services/agent-orchestrator/src/runs/runs-by-token.ts",
    changes: [{ from: "return this.#heard.has(tokenId) || this.#heardBefore.has(tokenId);", to: "return tokenId === '';" }],
    suite: orchestrator,
    test: "revoked while the message was in flight",
  },
  "run-live-revocation": {
    file: "services/agent-orchestrator/src/runs/launch.ts",
    changes: [{ from: "deps.runsByToken.add(identity.tokenId, controller)", to: "deps.runsByToken.add('', controller)" }],
    suite: orchestrator,
    test: "ends with the key while it runs",
  },
  /** A client that waits for a run of another credential is told that its own credential ended. */
  "run-told-apart": {
    file: "services/agent-orchestrator/src/handlers/agent.ts",
    changes: [{ from: " && requireIdentity(ctx).tokenId === tokenId;", to: ";" }],
    suite: orchestrator,
    test: "ends with the key while it runs",
  },
  "grant-starter": {
    file: "packages/platform/src/identity/grant.ts",
    changes: [{ from: "(payload.tokenId === undefined || payload.tokenId === expected.tokenId)", to: "true" }],
    suite: ["services/tool-executor/src/handlers/execute-calls.test.ts", "services/conversation/src/store/approvals.test.ts"],
    test: "credential that started the run|are two in the record",
  },
  "decider-record": {
    file: "services/conversation/src/store/approvals.ts",
    changes: [{ from: "decider.tokenId || null,", to: "decider.userId," }],
    suite: ["services/conversation/src/store/approvals.test.ts"],
    test: "are two in the record",
  },
  "exact-arguments": {
    file: "services/tool-executor/src/tool-definition/registered-tool.ts",
    changes: [{ from: "const inexact = inexactPart(json);", to: "const inexact = undefined as ReturnType<typeof inexactPart>;" }],
    suite: ["services/tool-executor/src/tool-definition/registered-tool.test.ts", "tests/e2e/exact-arguments.test.ts"],
  },
  /** A decimal reaches the tool as the integer next to it. */
  "exact-decimals": {
    file: "packages/platform/src/json/json-text.ts",
    changes: [
      { from: "if (!Number.isInteger(value)) return true;", to: "if (value !== 0 && Math.abs(value) < 2 ** 53) return true;" },
    ],
    suite: ["packages/platform/src/json/json-text.test.ts", "tests/e2e/exact-arguments.test.ts"],
  },
  "exact-asked": {
    file: "services/agent-orchestrator/src/graph/act.ts",
    changes: [{ from: "if (isRefusedForGood(error) || unexecutable.has(reasonOf(error))) return false;", to: "return true;" }],
    suite: ["tests/e2e/exact-arguments.test.ts"],
    test: "cannot run as written",
  },
  "exact-rest": {
    file: "gateway/src/transcoding/binder.ts",
    changes: [{ from: "if (body !== undefined && text !== undefined) putTexts?.(json, text());", to: "" }],
    suite: ["gateway/src/transcoding/json-texts.test.ts", "tests/e2e/exact-arguments.test.ts"],
  },
  "exact-values": {
    file: "services/agent-orchestrator/src/handlers/given-json.ts",
    changes: [{ from: "if (hasLostNumber(value)) {", to: "if (false as boolean) {" }],
    suite: ["services/agent-orchestrator/src/handlers/given-json.test.ts"],
  },
};
