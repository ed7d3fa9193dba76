import type { SecurityBreakages } from "./breakage.ts";

/** Guards between the parts of the mesh, and on data that they share among users. */
export const mesh: SecurityBreakages = {
  "client-address": {
    file: "packages/platform/src/rpc/interceptors.ts",
    changes: [{ from: "if (service !== gatewayService) {", to: "if (service === gatewayService && false) {" }],
    suite: ["packages/platform/src/rpc/interceptors.test.ts"],
    test: "hears of the client's address",
  },
  "bus-seal": {
    file: "packages/platform/src/ports/bus-sealed.ts",
    changes: [{ from: "timingSafeEqual(code, codeOf(key, topic, text))", to: "true" }],
    suite: ["packages/platform/src/ports/bus-sealed.test.ts"],
  },
  "redis-password": {
    file: "launcher/src/mesh.ts",
    changes: [{ from: "`requirepass ", to: "`# requirepass " }],
    suite: ["tests/e2e/mesh-stores.test.ts"],
  },
  "service-login": {
    file: "launcher/src/mesh.ts",
    changes: [{ from: "return url;", to: "return address;" }],
    suite: ["tests/e2e/mesh-stores.test.ts"],
  },
  "shared-roles": {
    file: "packages/platform/src/postgres/role-setup.ts",
    changes: [{ from: "sharedWith === undefined ? current : undefined", to: "current" }],
    suite: ["packages/platform/src/postgres/installations.test.ts"],
    test: "are separated at the next start",
  },
  "same-prefix": {
    file: "packages/platform/src/postgres/role-setup.ts",
    changes: [{ from: "other !== undefined && !mayShare", to: "false" }],
    suite: ["packages/platform/src/postgres/installations.test.ts"],
    test: "are refused the same prefix",
  },
  "login-password": {
    file: "packages/platform/src/postgres/service-login.ts",
    changes: [{ from: "rolePrefix === standardPrefix ? schema", to: "rolePrefix !== undefined ? schema" }],
    suite: ["packages/platform/src/postgres/installations.test.ts"],
    test: "cannot read each other's password hashes",
  },
  "private-names": {
    file: "packages/platform/src/outbound/outbound.ts",
    changes: [{ from: "if (error instanceof RefusedAddressError) return true;", to: "" }],
    suite: ["packages/platform/src/outbound/outbound.test.ts"],
  },
  "token-cache-key": {
    file: "packages/platform/src/identity/token-cache.ts",
    changes: [
      { from: 'const key = hash("sha256", token, "base64");', to: 'const key = hash("sha256", token.slice(0, 20), "base64");' },
    ],
    suite: ["packages/platform/src/identity/token-cache.test.ts"],
  },
  "catalogue-key": {
    file: "services/agent-orchestrator/src/tool-access/tool-catalogue.ts",
    changes: [
      {
        from: "JSON.stringify([options.unattended, identity.allowedTools])",
        to: '[options.unattended, ...identity.allowedTools].join(" ")',
      },
    ],
    suite: ["services/agent-orchestrator/src/tool-access/tool-catalogue.test.ts"],
  },
};
