import { AgentService } from "@turnwright/contract/agent/v1/agent_service";
import { CompletionService } from "@turnwright/contract/agent/v1/completion_service";
import { InboxService } from "@turnwright/contract/agent/v1/inbox_service";
import { RunService } from "@turnwright/contract/agent/v1/run_service";
import { TrialService } from "@turnwright/contract/agent/v1/trial_service";
import { type Mount, mount } from "@turnwright/platform/rpc/mount";
import type { CompletionDeps } from "../completions/open-completion.ts";
import type { ModelList } from "../model/model-list.ts";
import { type AgentDeps, agentHandlers } from "./agent.ts";
import { completionHandlers } from "./completions.ts";
import { inboxHandlers } from "./inbox.ts";
import { runHandlers } from "./runs.ts";
import { trialHandlers } from "./trials.ts";

/** The RPC services of the orchestrator. */
export function createMounts(deps: AgentDeps & CompletionDeps & { readonly models: ModelList }): Mount[] {
  return [
    mount(AgentService, agentHandlers(deps)),
    mount(RunService, runHandlers(deps)),
    mount(InboxService, inboxHandlers(deps)),
    mount(TrialService, trialHandlers(deps)),
    mount(CompletionService, completionHandlers(deps)),
  ];
}
