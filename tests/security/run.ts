/**
 * The long security suites, row by row: `npm run security`. Each row prints its figure and whether it is kept; the
 * command exits with 1 when one is not.
 *
 *   npm run security                    all rows
 *   npm run security -- s3 s8           some rows
 *   npm run security -- --quick         a tenth of the counts
 *   npm run security -- --break all     the suites without their guards: each must fail
 *   npm run security -- --break NAME    one of them
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { testedEnvironment } from "../tested-environment.ts";
import { runWithout } from "./breakages/run-without.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { quick: { type: "boolean", default: false }, break: { type: "string" } },
});
const root = join(import.meta.dirname, "../..");
const count = (full: number) => ["--count", String(values.quick ? full / 10 : full)];
const suite = (...files: string[]) => [
  join(root, "node_modules/vitest/vitest.mjs"),
  "run",
  "--reporter=dot",
  "--silent=false",
  ...files,
];

/** Node's arguments per row; a row that is a test suite fails as tests do. */
const rows: Readonly<Record<string, readonly string[][]>> = {
  s1: [suite("tests/security/row-security.test.ts", "tests/security/route-matrix.test.ts")],
  s2: [
    suite(
      "services/auth/src/handlers/auth.test.ts",
      "services/auth/src/handlers/tokens.test.ts",
      "tests/security/forged-tokens.test.ts",
    ),
  ],
  s3: [["tests/security/long/login-timing.ts", ...count(2_000)]],
  s4: [
    suite("tests/security/callers.test.ts", "tests/security/callers-mesh.test.ts", "services/auth/src/handlers/api-keys.test.ts"),
  ],
  s5: [suite("tests/security/method-access.test.ts", "tests/security/injection.test.ts")],
  s6: [suite("packages/platform/src/mesh-tls/mesh-tls.test.ts", "tests/e2e/mesh-tls.test.ts")],
  s7: [["services/tool-executor/security/ssrf.ts"]],
  s8: [["services/tool-executor/security/calculator.ts", ...count(1_000_000)]],
  s9: [
    ["tests/security/fuzz-authorization.ts", ...count(10_000)],
    suite("tests/security/input-limits.test.ts", "gateway/src/connections/protocols.test.ts"),
  ],
  s10: [suite("tests/security/secrets.test.ts")],
  s11: [suite("tests/packaging/supply.test.ts")],
  s16: [
    suite(
      "tests/security/callers.test.ts",
      "tests/security/callers-mesh.test.ts",
      "tests/e2e/exact-arguments.test.ts",
      "services/agent-orchestrator/src/runs/starter.test.ts",
      "services/auth/src/handlers/run-tokens.test.ts",
      "services/conversation/src/store/approvals.test.ts",
      "services/tool-executor/src/handlers/execute-calls.test.ts",
    ),
  ],
  s12: [
    suite(
      "services/tool-executor/src/sandbox/walls.test.ts",
      "services/tool-executor/src/sandbox/wall-filter.test.ts",
      "services/tool-executor/src/sandbox/open-wall.test.ts",
      "services/tool-executor/src/sandbox/escapes.test.ts",
      "services/tool-executor/src/sandbox/egress.test.ts",
      "services/tool-executor/src/registry/tools-folder.test.ts",
    ),
  ],
  s19: [
    suite(
      "packages/platform/src/identity/token-cache.test.ts",
      "services/agent-orchestrator/src/tool-access/tool-catalogue.test.ts",
      "services/agent-orchestrator/src/spending/usage-recorder.test.ts",
    ),
  ],
  s21: [
    suite(
      "services/conversation/src/deciders.test.ts",
      "services/tool-executor/src/handlers/settle-calls.test.ts",
      "tests/security/key-families.test.ts",
    ),
  ],
  s22: [
    suite(
      "services/auth/src/handlers/key-rights.test.ts",
      "services/auth/src/store/key-families.test.ts",
      "services/conversation/src/webhooks/makers.test.ts",
      "packages/contract/tools/access.test.ts",
      "tests/security/method-access.test.ts",
      "tests/security/key-scopes.test.ts",
      "tests/security/key-families.test.ts",
    ),
    ["tests/security/long/webhook-races.ts", ...count(300)],
  ],
  s23: [
    suite(
      "tests/e2e/mesh-stores.test.ts",
      "packages/platform/src/postgres/service-login.test.ts",
      "packages/platform/src/postgres/installations.test.ts",
      "packages/platform/src/ports/bus-sealed.test.ts",
      "packages/platform/src/rpc/interceptors.test.ts",
    ),
  ],
  s25: [
    suite(
      "tests/security/bad-input.test.ts",
      "packages/platform/src/rpc/field-faults.test.ts",
      "gateway/src/connections/unserved.test.ts",
      "gateway/src/rpc/rpc-message.test.ts",
    ),
  ],
  s18: [
    suite(
      "gateway/src/admission/shared-limits.test.ts",
      "packages/platform/src/ports/ports.test.ts",
      "packages/platform/src/ports/redis-outage.test.ts",
      "services/auth/src/handlers/api-keys.test.ts",
      "services/auth/src/handlers/usage.test.ts",
      "tests/security/callers.test.ts",
      "tests/security/callers-mesh.test.ts",
      "tests/e2e/shared-ceilings.test.ts",
    ),
  ],
  s20: [
    suite(
      "packages/platform/src/client-network.test.ts",
      "services/auth/src/fair-queue.test.ts",
      "services/auth/src/passwords.test.ts",
      "services/auth/src/login-limits.test.ts",
      "services/auth/src/handlers/invites.test.ts",
    ),
    ["tests/security/long/login-flood.ts", ...count(500)],
  ],
  s15: [
    ["tests/security/long/connections.ts", ...count(10_000)],
    suite(
      "tests/security/connections.test.ts",
      "gateway/src/connections/client-accounts.test.ts",
      "gateway/src/connections/pipelining.test.ts",
      "gateway/src/connections/address-block.test.ts",
      "gateway/src/docs.test.ts",
    ),
  ],
  // EVERY_OPERATION=1 presses Execute at every operation of the API docs.
  s26: [
    suite(
      "tests/security/answer-headers.test.ts",
      "tests/browser/swagger.test.ts",
      "tests/browser/examples.test.ts",
      "tests/packaging/compose.test.ts",
    ),
  ],
  s14: [
    ["tests/security/long/admission-cost.ts", ...count(200)],
    suite(
      "gateway/src/rpc/rpc-plugin.test.ts",
      "gateway/src/rpc/rpc-message.test.ts",
      "packages/platform/src/rpc/wire-check.test.ts",
      "packages/platform/src/json/json-depth.test.ts",
      "packages/platform/src/rpc/grpc-admission.test.ts",
      "packages/platform/src/outbound/outbound.test.ts",
      "services/agent-orchestrator/src/model/endpoint/http-model.test.ts",
    ),
  ],
  s27: [
    suite(
      "gateway/src/connections/unread-bodies.test.ts",
      "gateway/src/connections/late-answers.test.ts",
      "gateway/src/connections/discarding.test.ts",
    ),
  ],
  s13: [
    suite(
      "services/auth/src/handlers/revocation-order.test.ts",
      "services/agent-orchestrator/src/runs/starter.test.ts",
      "gateway/src/admission/authentication.test.ts",
      "tests/security/revocation-races.test.ts",
    ),
    ["tests/security/long/revocation-races.ts", ...count(1_000)],
  ],
  s17: [
    ["tests/security/long/spend-evasion.ts", ...count(1_000)],
    suite(
      "services/agent-orchestrator/src/spending",
      "services/auth/src/handlers/usage.test.ts",
      "tests/security/callers.test.ts",
      "tests/security/callers-mesh.test.ts",
      "tests/e2e/spending.test.ts",
    ),
  ],
  s24: [suite("services/agent-orchestrator/src/completions")],
  r4: [suite("packages/platform/src/ports/redis-outage.test.ts", "tests/security/callers-mesh.test.ts")],
  r14: [suite("services/tool-executor/src/sandbox/poison.test.ts")],
};

if (values.break !== undefined) process.exit(await runWithout(values.break));
const asked = positionals.length > 0 ? positionals.map((row) => row.toLowerCase()) : Object.keys(rows);
const unknown = asked.filter((row) => !(row in rows));
if (unknown.length > 0) {
  console.error(`Unknown rows: ${unknown.join(", ")}; known: ${Object.keys(rows).join(", ")}.`);
  process.exit(2);
}
const failed: string[] = [];
for (const row of asked) {
  console.log(`\n== ${row.toUpperCase()}`);
  for (const args of rows[row] ?? []) {
    const child = spawn(process.execPath, args, { cwd: root, stdio: "inherit", env: { ...process.env, ...testedEnvironment() } });
    const [code] = (await once(child, "exit")) as [number | null];
    if (code !== 0) failed.push(row.toUpperCase());
  }
}
console.log(failed.length === 0 ? `\nAll of ${asked.length} rows are kept.` : `\nNot kept: ${[...new Set(failed)].join(", ")}`);
process.exitCode = failed.length === 0 ? 0 : 1;
