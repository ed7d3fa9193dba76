import { createClient } from "@connectrpc/connect";
import { TokenService } from "@turnwright/contract/auth/v1/token_service";
import { SpendService } from "@turnwright/contract/auth/v1/usage_service";
import { ConversationService } from "@turnwright/contract/conversation/v1/conversation_service";
import { JournalService } from "@turnwright/contract/conversation/v1/journal_service";
import { ExecutionService } from "@turnwright/contract/tool/v1/execution_service";
import { meshSecrets } from "@turnwright/platform/config/mesh-env";
import { redisUrl } from "@turnwright/platform/config/redis-env";
import { openPorts } from "@turnwright/platform/ports/open-ports";
import { runService } from "@turnwright/platform/process/run-service";
import { agentConfig, startAgentOrchestrator } from "./index.ts";

/** Runs the service as a process of its own, configured by the environment. */
export async function runAgentOrchestrator(): Promise<void> {
  await runService({ name: "agent-orchestrator", config: agentConfig }, async ({ config, logger, transport }) => {
    const conversation = transport("conversation", config.CONVERSATION_ADDR);
    const auth = transport("auth", config.AUTH_ADDR);
    // Without Redis, watchers in other processes read a run's frames from the journal.
    const ports = await openPorts({ redisUrl: redisUrl(config), busSecret: meshSecrets(config), logger });
    const service = await startAgentOrchestrator({
      config,
      journal: createClient(JournalService, conversation),
      conversations: createClient(ConversationService, conversation),
      executions: createClient(ExecutionService, transport("tool-executor", config.TOOL_ADDR)),
      tokens: createClient(TokenService, auth),
      spend: createClient(SpendService, auth),
      bus: ports.bus,
      logger,
    });
    return {
      ...service,
      async close() {
        await service.close();
        await ports.close();
      },
    };
  });
}
