import type { SecurityBreakages } from "./breakage.ts";

/** Guards on the limits of one key, account or address. */
export const limits: SecurityBreakages = {
  "limits-of-ancestors": {
    file: "gateway/src/admission/limits.ts",
    changes: [{ from: "...identity.sharedLimits.map(", to: "...identity.sharedLimits.slice(0, 0).map(" }],
    suite: ["gateway/src/admission/shared-limits.test.ts"],
  },
  "limits-of-ancestors-in-auth": {
    file: "services/auth/src/store/credentials.ts",
    changes: [{ from: "const shared = (row.ancestors ?? []).map(", to: "const shared = ([] as AncestorRow[]).map(" }],
    suite: ["services/auth/src/handlers/api-keys.test.ts"],
    test: "hands on the chain",
  },
  "limits-of-public-reads": {
    file: "gateway/src/admission/admit.ts",
    changes: [{ from: "await limits.takeAddress(", to: "if (!rule.readsOnly) await limits.takeAddress(" }],
    suite: ["gateway/src/discovery/discovery-limits.test.ts"],
    test: "are counted on every way",
  },
  "watches-of-one-address": {
    file: "gateway/src/discovery/serving-status.ts",
    changes: [{ from: ">= maxOfAddress * factor", to: ">= maxWatchers" }],
    suite: ["gateway/src/discovery/discovery-limits.test.ts"],
    test: "are bounded for each address",
  },
  "limits-all-or-none": {
    file: "packages/platform/src/ports/rate-scripts.ts",
    changes: [
      { from: "  if allowed then\n    if per_minute", to: "  if true then\n    if per_minute" },
      { from: "if allowed or recalled[i] then", to: "if true then" },
    ],
    suite: ["packages/platform/src/ports/ports.test.ts"],
    test: "takes from none of them",
  },
  "limits-without-redis": {
    file: "packages/platform/src/ports/rate-ledger.ts",
    changes: [
      { from: "for (const window of windows) window[layer]", to: "for (const window of windows.slice(0, 2)) window[layer]" },
    ],
    suite: ["packages/platform/src/ports/redis-outage.test.ts"],
    test: "serves what descends from a key",
  },
  "slots-of-ancestors": {
    file: "packages/platform/src/ports/concurrency-limiter-redis.ts",
    changes: [{ from: "if redis.call('ZCARD', key) >=", to: "if i == 1 and redis.call('ZCARD', key) >=" }],
    suite: ["packages/platform/src/ports/ports.test.ts"],
    test: "takes a slot of every bucket",
  },
  "slots-of-disconnected-clients": {
    file: "gateway/src/admission/admit.ts",
    changes: [
      {
        from: "if (request.releaseSlot === alreadyClosed) release();",
        to: "if (request.releaseSlot === alreadyClosed) return caller;",
      },
    ],
    suite: ["gateway/src/admission/shared-limits.test.ts"],
    test: "are given back",
  },
  "ceilings-of-ancestors": {
    file: "services/auth/src/store/spend.ts",
    changes: [
      {
        from: "join line on p.id = line.parent_id where p.token_type = 'api_key'\n    ), account",
        to: "join line on p.id = line.parent_id where false\n    ), account",
      },
    ],
    suite: ["services/auth/src/handlers/usage.test.ts"],
    test: "ceilings above a key",
  },
  "sessions-of-an-account": {
    file: "gateway/src/admission/limits.ts",
    changes: [{ from: "tokenType === TokenType.API_KEY ?", to: "tokenType !== TokenType.UNSPECIFIED ?" }],
    suite: ["gateway/src/admission/shared-limits.test.ts"],
    test: "sessions share one limit",
  },
  "line-of-keys": {
    file: "services/auth/src/handlers/api-keys.ts",
    changes: [{ from: ">= longestLine)", to: ">= 1e9)" }],
    suite: ["services/auth/src/handlers/api-keys.test.ts"],
    test: "seventh of its line",
  },
  "networks-of-ipv6": {
    file: "packages/platform/src/client-network.ts",
    changes: [{ from: "return ipv6Networks.map(", to: "return [{ name: text, factor: 1 }];\n      ipv6Networks.map(" }],
    suite: ["packages/platform/src/client-network.test.ts", "services/auth/src/login-limits.test.ts"],
  },
  "ipv4-in-ipv6": {
    file: "packages/platform/src/client-network.ts",
    changes: [{ from: "if (isIpv4Inside(groups)) {", to: "if (groups.length === 0) {" }],
    suite: ["packages/platform/src/client-network.test.ts"],
  },
  "turns-of-addresses": {
    file: "services/auth/src/fair-queue.ts",
    changes: [
      {
        from: "      this.branches.delete(name);\n      if (branch.size > 0) this.branches.set(name, branch);",
        to: "      if (branch.size === 0) this.branches.delete(name);",
      },
    ],
    suite: ["services/auth/src/passwords.test.ts"],
    test: "the turns",
  },
  "places-of-addresses": {
    file: "services/auth/src/fair-queue.ts",
    changes: [{ from: "this.#root.heaviest()?.refuse();", to: "this.#root.remove(path, 0, item) && item.refuse();" }],
    suite: ["services/auth/src/passwords.test.ts"],
    test: "the turns",
  },
  "refused-logins-count-nowhere": {
    file: "services/auth/src/login-limits.ts",
    changes: [{ from: "refuseAttempt(pool, { counted: keys, over })", to: "refuseAttempt(pool, { counted: over, over })" }],
    suite: ["services/auth/src/login-limits.test.ts"],
    test: "lock out nobody",
  },
};
