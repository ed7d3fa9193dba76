import type { DescService } from "@bufbuild/protobuf";
import { AgentService } from "@turnwright/contract/agent/v1/agent_service";
import { CompletionService } from "@turnwright/contract/agent/v1/completion_service";
import { InboxService } from "@turnwright/contract/agent/v1/inbox_service";
import { RunService } from "@turnwright/contract/agent/v1/run_service";
import { TrialService } from "@turnwright/contract/agent/v1/trial_service";
import { ApiKeyService } from "@turnwright/contract/auth/v1/api_key_service";
import { AuditService } from "@turnwright/contract/auth/v1/audit_service";
import { AuthService } from "@turnwright/contract/auth/v1/auth_service";
import { InviteService } from "@turnwright/contract/auth/v1/invite_service";
import { TokenService } from "@turnwright/contract/auth/v1/token_service";
import { UsageService } from "@turnwright/contract/auth/v1/usage_service";
import { UserService } from "@turnwright/contract/auth/v1/user_service";
import { ConversationService } from "@turnwright/contract/conversation/v1/conversation_service";
import { DecisionAuditService } from "@turnwright/contract/conversation/v1/decision_audit_service";
import { EventService } from "@turnwright/contract/conversation/v1/event_service";
import { RunAdminService } from "@turnwright/contract/conversation/v1/run_admin_service";
import { RunStepService } from "@turnwright/contract/conversation/v1/run_step_service";
import { WebhookService } from "@turnwright/contract/conversation/v1/webhook_service";
import { InfoService } from "@turnwright/contract/system/v1/info_service";
import { SystemService } from "@turnwright/contract/system/v1/system_service";
import { ToolService } from "@turnwright/contract/tool/v1/tool_service";

/**
 * The services whose annotated methods are public, by the part of the mesh that serves them. A new service needs only
 * one entry here.
 */
export const publicServices = {
  auth: [AuthService, ApiKeyService, UsageService, UserService, InviteService, TokenService, AuditService],
  conversation: [ConversationService, WebhookService, DecisionAuditService, RunAdminService, RunStepService, EventService],
  agent: [AgentService, RunService, CompletionService, InboxService, TrialService],
  tools: [ToolService],
  gateway: [InfoService, SystemService],
} as const satisfies Record<string, readonly DescService[]>;
