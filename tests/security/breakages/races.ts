import type { SecurityBreakages } from "./breakage.ts";

const order = ["services/auth/src/handlers/revocation-order.test.ts"];
const invites = ["services/auth/src/handlers/invites.test.ts"];
const entrance = ["gateway/src/admission/authentication.test.ts"];
const runs = ["services/agent-orchestrator/src/runs/starter.test.ts"];

/** Guards on the creation of credentials while others end, and on registration. */
export const races: SecurityBreakages = {
  "revocation-waits": {
    file: "services/auth/src/store/accounts.ts",
    changes: [{ from: "where id = $1 for no key update", to: "where id = $1" }],
    suite: order,
    test: "waits for",
  },
  "creation-waits": {
    file: "services/auth/src/store/accounts.ts",
    changes: [{ from: "where id = $1 for share", to: "where id = $1" }],
    suite: order,
    test: "a key that is created waits",
  },
  "creation-checks-session": {
    file: "services/auth/src/store/accounts.ts",
    changes: [
      {
        from: "and t.token_type = 'refresh' and not t.is_revoked and t.expires_at > now()`",
        to: "and t.token_type = 'refresh'`",
      },
    ],
    suite: order,
    test: "waits, and creates nothing",
  },
  "refresh-waits": {
    file: "services/auth/src/store/sessions.ts",
    changes: [{ from: "      for share of u\n", to: "" }],
    suite: order,
    test: "a refresh waits",
  },
  "login-checks-password": {
    file: "services/auth/src/store/sessions.ts",
    changes: [
      { from: "and is_active and password_hash = $20 for share", to: "and is_active and $20::text is not null for share" },
    ],
    suite: order,
    test: "old password",
  },
  "reuse-waits": {
    file: "services/auth/src/handlers/auth.ts",
    changes: [{ from: "await holdAccountOfRefreshToken(tx, oldHash);", to: "" }],
    suite: order,
    test: "by the reuse of a token",
  },
  "old-secret": {
    file: "services/auth/src/held-caller.ts",
    changes: [{ from: "(now?.secretVersion || 1) === (asked.secretVersion || 1) && ", to: "" }],
    suite: order,
    test: "older secret",
  },
  "lost-role": {
    file: "services/auth/src/held-caller.ts",
    changes: [{ from: " && now?.role === asked.role", to: "" }],
    suite: invites,
    test: "an admin a moment ago",
  },
  "late-exchange": {
    file: "gateway/src/admission/authentication.ts",
    changes: [{ from: "if (isOvertaken(identity.tokenId, begun)) {", to: "if (false as boolean) {" }],
    suite: entrance,
    test: "overtook|at each of its exchanges",
  },
  "old-secret-run": {
    file: "services/agent-orchestrator/src/runs/take-over.ts",
    changes: [{ from: "if (secretVersion !== undefined &&", to: "if (secretVersion === -1 &&" }],
    suite: runs,
    test: "secret that admitted it was replaced",
  },
  "whole-token": {
    file: "packages/platform/src/identity/token-cache.ts",
    changes: [
      { from: 'const key = hash("sha256", token, "base64");', to: "const key = token.slice(0, 20);" },
      { from: 'this.#entries.set(hash("sha256", token, "base64"), {', to: "this.#entries.set(token.slice(0, 20), {" },
    ],
    suite: entrance,
    test: "CVE-2026-35030",
  },
  "invite-once": {
    file: "services/auth/src/store/invites.ts",
    changes: [{ from: "where i.id = $1 and i.used_at is null and", to: "where i.id = $1 and" }],
    suite: invites,
    test: "all have found it unused",
  },
  "invite-of-an-admin": {
    file: "services/auth/src/registration.ts",
    changes: [{ from: 'await holdAccount(tx, found.createdBy, "shared");', to: "" }],
    suite: invites,
    test: "losing the power",
  },
  "registration-mode": {
    file: "services/auth/src/handlers/auth.ts",
    changes: [{ from: "checkRegistration(config.REGISTRATION, request);", to: "" }],
    suite: invites,
    test: "is refused",
  },
};
