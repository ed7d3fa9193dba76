import { type DescMethod, type DescService, getOption, hasOption } from "@bufbuild/protobuf";
import { AgentService } from "@turnwright/contract/agent/v1/agent_service";
import { CompletionService } from "@turnwright/contract/agent/v1/completion_service";
import { RunService } from "@turnwright/contract/agent/v1/run_service";
import { Access, access, callers, scopes } from "@turnwright/contract/auth/v1/access";
import { ApiKeyService } from "@turnwright/contract/auth/v1/api_key_service";
import { AuthService } from "@turnwright/contract/auth/v1/auth_service";
import { InviteService } from "@turnwright/contract/auth/v1/invite_service";
import { TokenService } from "@turnwright/contract/auth/v1/token_service";
import { SpendService, UsageService } from "@turnwright/contract/auth/v1/usage_service";
import { UserService } from "@turnwright/contract/auth/v1/user_service";
import { ConversationService } from "@turnwright/contract/conversation/v1/conversation_service";
import { JournalService } from "@turnwright/contract/conversation/v1/journal_service";
import { WebhookService } from "@turnwright/contract/conversation/v1/webhook_service";
import { http } from "@turnwright/contract/google/api/annotations";
import { ExecutionService } from "@turnwright/contract/tool/v1/execution_service";
import { ToolService } from "@turnwright/contract/tool/v1/tool_service";

/** All services of the contract. That none is missing is checked against the protos. */
export const services: readonly DescService[] = [
  AgentService,
  RunService,
  CompletionService,
  ApiKeyService,
  AuthService,
  TokenService,
  SpendService,
  UsageService,
  UserService,
  InviteService,
  ConversationService,
  JournalService,
  WebhookService,
  ExecutionService,
  ToolService,
];

/** Names that processes of the mesh prove. */
export const serviceNames = ["gateway", "auth", "conversation", "agent-orchestrator", "tool-executor"] as const;

/** `Service.Method`. */
export function nameOf(method: DescMethod): string {
  return `${method.parent.name}.${method.name}`;
}

/**
 * Methods for users that no API key may call, on purpose: they concern the account itself. They name no scope. A new
 * method is on this list, or names the scopes of keys that may call it.
 */
const loginOnly: readonly string[] = [
  "AuthService.Logout",
  "AuthService.ListSessions",
  "AuthService.RevokeSession",
  "AuthService.ChangePassword",
];

/** What is wrong with how the methods of services are guarded, one line each. */
export function guardFaults(all: readonly DescService[]): string[] {
  return all
    .flatMap((service) => service.methods)
    .flatMap((method) => {
      const declared = getOption(method, access);
      const named = getOption(method, callers);
      const faults: string[] = [];
      if (declared === Access.UNSPECIFIED) faults.push("says not who may call it");
      if (declared === Access.SERVICE && named.length === 0) faults.push("says not which services may call it");
      if (declared === Access.SERVICE && hasOption(method, http)) faults.push("is for services and has a public path");
      if (declared === Access.PUBLIC && named.length > 0) faults.push("is public and names callers");
      const scoped = getOption(method, scopes).length > 0;
      if (declared === Access.USER && scoped === loginOnly.includes(nameOf(method))) {
        faults.push(scoped ? "is for logins only and names scopes" : "says not which scopes of keys it needs");
      }
      if (declared !== Access.USER && scoped) faults.push("names scopes and is not for users");
      for (const name of named)
        if (!serviceNames.some((known) => known === name)) faults.push(`names a caller ${name} that there is not`);
      return faults.map((fault) => `${nameOf(method)} ${fault}`);
    });
}
