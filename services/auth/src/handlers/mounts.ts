import { ApiKeyService } from "@turnwright/contract/auth/v1/api_key_service";
import { AuditService } from "@turnwright/contract/auth/v1/audit_service";
import { AuthService } from "@turnwright/contract/auth/v1/auth_service";
import { InviteService } from "@turnwright/contract/auth/v1/invite_service";
import { TokenService } from "@turnwright/contract/auth/v1/token_service";
import { SpendService, UsageService } from "@turnwright/contract/auth/v1/usage_service";
import { UserService } from "@turnwright/contract/auth/v1/user_service";
import { type Mount, mount } from "@turnwright/platform/rpc/mount";
import { apiKeyHandlers } from "./api-keys.ts";
import { auditHandlers } from "./audit.ts";
import { authHandlers } from "./auth.ts";
import type { AuthDeps } from "./deps.ts";
import { inviteHandlers } from "./invites.ts";
import { spendHandlers } from "./spend.ts";
import { tokenHandlers } from "./tokens.ts";
import { usageHandlers } from "./usage.ts";
import { userHandlers } from "./users.ts";

/** All of auth's RPC services with their handlers. */
export function authMounts(deps: AuthDeps): readonly Mount[] {
  return [
    mount(AuthService, authHandlers(deps)),
    mount(ApiKeyService, apiKeyHandlers(deps)),
    mount(TokenService, tokenHandlers(deps)),
    mount(InviteService, inviteHandlers(deps)),
    mount(UserService, userHandlers(deps)),
    mount(AuditService, auditHandlers(deps)),
    mount(UsageService, usageHandlers(deps)),
    mount(SpendService, spendHandlers(deps)),
  ];
}
