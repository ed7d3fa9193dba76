import { type DescMethod, type DescService, getOption, hasOption } from "@bufbuild/protobuf";
import { AgentService } from "@turnwright/contract/agent/v1/agent_service";
import { CompletionService } from "@turnwright/contract/agent/v1/completion_service";
import { InboxService } from "@turnwright/contract/agent/v1/inbox_service";
import { RunService } from "@turnwright/contract/agent/v1/run_service";
import { TrialService } from "@turnwright/contract/agent/v1/trial_service";
import { Access, access, callers, scopes } from "@turnwright/contract/auth/v1/access";
import { ApiKeyService } from "@turnwright/contract/auth/v1/api_key_service";
import { AuditService } from "@turnwright/contract/auth/v1/audit_service";
import { AuthService } from "@turnwright/contract/auth/v1/auth_service";
import { InviteService } from "@turnwright/contract/auth/v1/invite_service";
import { TokenService } from "@turnwright/contract/auth/v1/token_service";
import { SpendService, UsageService } from "@turnwright/contract/auth/v1/usage_service";
import { UserService } from "@turnwright/contract/auth/v1/user_service";
import { ConversationService } from "@turnwright/contract/conversation/v1/conversation_service";
import { DecisionAuditService } from "@turnwright/contract/conversation/v1/decision_audit_service";
import { EventService } from "@turnwright/contract/conversation/v1/event_service";
import { JournalService } from "@turnwright/contract/conversation/v1/journal_service";
import { RunAdminService } from "@turnwright/contract/conversation/v1/run_admin_service";
import { RunStepService } from "@turnwright/contract/conversation/v1/run_step_service";
import { WebhookService } from "@turnwright/contract/conversation/v1/webhook_service";
import { http } from "@turnwright/contract/google/api/annotations";
import { InfoService } from "@turnwright/contract/system/v1/info_service";
import { SystemService } from "@turnwright/contract/system/v1/system_service";
import { ExecutionService } from "@turnwright/contract/tool/v1/execution_service";
import { ToolService } from "@turnwright/contract/tool/v1/tool_service";

/** All services of the contract; a test compares the list with the protos. */
export const services: readonly DescService[] = [
  AgentService,
  RunService,
  InboxService,
  TrialService,
  CompletionService,
  ApiKeyService,
  AuthService,
  TokenService,
  SpendService,
  UsageService,
  UserService,
  InviteService,
  AuditService,
  ConversationService,
  JournalService,
  RunStepService,
  WebhookService,
  DecisionAuditService,
  RunAdminService,
  EventService,
  ExecutionService,
  ToolService,
  InfoService,
  SystemService,
];

/** Names of the services in the mesh. */
export const serviceNames = ["gateway", "auth", "conversation", "agent-orchestrator", "tool-executor"] as const;

/** `Service.Method`. */
export function nameOf(method: DescMethod): string {
  return `${method.parent.name}.${method.name}`;
}

/**
 * Methods for users that API keys may not call, on purpose: they concern the account itself and name no scope. A new
 * method is listed here or names its scopes.
 */
const loginOnly: readonly string[] = [
  "AuthService.Logout",
  "AuthService.ListSessions",
  "AuthService.RevokeSession",
  "AuthService.ChangePassword",
];

/** Faults in the access rules of methods, one line each. */
export function guardFaults(all: readonly DescService[]): string[] {
  return all
    .flatMap((service) => service.methods)
    .flatMap((method) => {
      const declared = getOption(method, access);
      const named = getOption(method, callers);
      const faults: string[] = [];
      if (declared === Access.UNSPECIFIED) faults.push("declares no access");
      if (declared === Access.SERVICE && named.length === 0) faults.push("names no calling services");
      if (declared === Access.SERVICE && hasOption(method, http)) faults.push("is for services but has a public path");
      if (declared === Access.PUBLIC && named.length > 0) faults.push("is public but names callers");
      const scoped = getOption(method, scopes).length > 0;
      if (declared === Access.USER && scoped === loginOnly.includes(nameOf(method))) {
        faults.push(scoped ? "is for logins only but names scopes" : "names no scopes for keys");
      }
      if (declared !== Access.USER && scoped) faults.push("names scopes but is not for users");
      for (const name of named) if (!serviceNames.some((known) => known === name)) faults.push(`names an unknown caller ${name}`);
      return faults.map((fault) => `${nameOf(method)} ${fault}`);
    });
}
