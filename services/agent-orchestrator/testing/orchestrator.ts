import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type Client, createClient, type Interceptor, type ServiceImpl } from "@connectrpc/connect";
import { AgentService } from "@turnwright/contract/agent/v1/agent_service";
import { CompletionService } from "@turnwright/contract/agent/v1/completion_service";
import { RunService } from "@turnwright/contract/agent/v1/run_service";
import { TrialService } from "@turnwright/contract/agent/v1/trial_service";
import { IdentitySchema } from "@turnwright/contract/auth/v1/identity";
import { TokenService } from "@turnwright/contract/auth/v1/token_service";
import { SpendService, type UsageRecord } from "@turnwright/contract/auth/v1/usage_service";
import { ConversationService } from "@turnwright/contract/conversation/v1/conversation_service";
import { JournalService } from "@turnwright/contract/conversation/v1/journal_service";
import {
  CallOutcome,
  type ExecuteCallsRequest,
  type ExecutionCall,
  type ExecutionResultSchema,
  ExecutionService,
} from "@turnwright/contract/tool/v1/execution_service";
import { ExecutionStatus, type ToolSpecSchema } from "@turnwright/contract/tool/v1/tool";
import { loadConfig } from "@turnwright/platform/config/env";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { identityKey, internalTokenHeader, requireIdentity } from "@turnwright/platform/identity/identity";
import { createLogger, type Logger } from "@turnwright/platform/logger";
import { createMemoryBus } from "@turnwright/platform/ports/bus-memory";
import { createInProcessTransport } from "@turnwright/platform/rpc/in-process";
import { errorInterceptor } from "@turnwright/platform/rpc/interceptors";
import { mount } from "@turnwright/platform/rpc/mount";
import { type ScriptedModel, startScriptedModel } from "@turnwright/testing/scripted-model";
import { agentConfig, startAgentOrchestrator } from "../src/index.ts";
import { createMemoryJournal, type MemoryJournal } from "./memory-journal.ts";

type Spec = MessageInitShape<typeof ToolSpecSchema>;
type Result = MessageInitShape<typeof ExecutionResultSchema>;

const tool = (name: string, rest: object = {}): Spec => ({
  definition: {
    type: "function",
    function: { name, description: `${name} of the test`, parameters: { type: "object", properties: {} } },
  },
  version: "1",
  ...rest,
});

/** An orchestrator between a scripted model and fakes of the other services. */
export interface OrchestratorFixture {
  readonly agent: Client<typeof AgentService>;
  readonly completions: Client<typeof CompletionService>;
  readonly runs: Client<typeof RunService>;
  readonly trials: Client<typeof TrialService>;
  readonly model: ScriptedModel;
  readonly journal: MemoryJournal;
  /** The policy of the caller's token; may be changed before a call. */
  readonly identity: { allowedTools: string[]; allowedModels: string[]; spendLimitMicros: bigint; secretVersion: number };
  /** Requests to the executor, in order. */
  readonly executed: ExecuteCallsRequest[];
  /** The credentials of those requests, in order, as UUIDs. */
  readonly executedAs: string[];
  /** Calls to the other services, in order: `begin`, `commit RUNNING`, `execute calculator`, … */
  readonly log: string[];
  /** Internal tokens that the other services got, in order. */
  readonly seenTokens: string[];
  /** The credentials that tokens were minted for, in order. */
  readonly minted: { userId: string; tokenId: string }[];
  /** Auth's record of money and usage. */
  readonly purse: Purse;
  /** Revokes a credential; resolves once the orchestrator has been told. */
  revoke(tokenId: string): Promise<void>;
  /** Sets how calls are answered; default: success with `{"ran":"<name>"}`. */
  onExecute(answer: (call: ExecutionCall) => Omit<Result, "$typeName"> | Promise<Omit<Result, "$typeName">>): void;
  /** Called before each call to another service with the name of its method; throws to refuse it. */
  onCall(hook: (method: string, request: unknown) => void | Promise<void>): void;
  /** Sets how tokens are minted. */
  onMint(answer: () => string | Promise<string>): void;
  /** Shuts down as after SIGTERM. */
  drain(limit: AbortSignal): Promise<void>;
  /** Rejects when the orchestrator cannot serve. */
  ready(): Promise<void>;
  /** States of interest, for `/ready`. */
  details(): Readonly<Record<string, unknown>> | undefined;
  close(): Promise<void>;
}

/** A key's money, without a database. */
export interface Purse {
  /** Millionths of a US dollar that are left. */
  left: number;
  /** Reserved and unsettled amounts by reservation. */
  readonly open: Map<string, number>;
  /** Requested amounts, in order. */
  readonly reserved: number[];
  /** Usage that was recorded or settled, in order. */
  readonly usage: UsageRecord[];
}

function createPurse(): Purse & { handlers: ServiceImpl<typeof SpendService> } {
  const purse: Purse = { left: 0, open: new Map(), reserved: [], usage: [] };
  const handlers: ServiceImpl<typeof SpendService> = {
    reserveSpend({ reservationId, amountMicros }) {
      purse.reserved.push(Number(amountMicros));
      const granted = Math.min(purse.left, Number(amountMicros));
      if (granted === 0) throw fail(ErrorReason.SPEND_LIMIT, "The spend ceiling of this key is reached.");
      purse.left -= granted;
      purse.open.set(reservationId, (purse.open.get(reservationId) ?? 0) + granted);
      return { grantedMicros: BigInt(granted) };
    },
    settleSpend({ reservationId, usage }) {
      purse.left += (purse.open.get(reservationId) ?? 0) - Number(usage?.costMicros);
      purse.open.delete(reservationId);
      purse.usage.push(usage as UsageRecord);
      return {};
    },
    recordUsage({ records }) {
      purse.usage.push(...records);
      return {};
    },
  };
  return Object.assign(purse, { handlers });
}

/** The user of the tests. */
export const testUser = { userId: "0198a000-0000-7000-8000-000000000001", tokenId: "0198a000-0000-7000-8000-000000000002" };

/** Call options of a caller that the gateway authenticated. */
export const asUser = { headers: { [internalTokenHeader]: "token-0" } };

/** Another credential of the same user, without limits. */
export const approver = { userId: testUser.userId, tokenId: "0198a000-0000-7000-8000-000000000003" };
const approverToken = "token-of-the-approver";
export const asApprover = { headers: { [internalTokenHeader]: approverToken } };

/**
 * Starts an orchestrator with the tools `calculator`, `web_search` and `send_mail` (which needs approval). Everything
 * runs on 127.0.0.1 or in this process.
 */
export async function startOrchestrator(
  env: Record<string, string> = {},
  options: { beatMs?: number; usageFlushMs?: number; logger?: Logger } = {},
): Promise<OrchestratorFixture> {
  const model = await startScriptedModel({ models: ["gpt-test", "gpt-other"] });
  const log: string[] = [];
  const journal = createMemoryJournal(log, testUser.userId);
  const identity = { allowedTools: [] as string[], allowedModels: [] as string[], spendLimitMicros: 0n, secretVersion: 1 };
  const executed: ExecuteCallsRequest[] = [];
  const executedAs: string[] = [];
  const seenTokens: string[] = [];
  const minted: { userId: string; tokenId: string }[] = [];
  const revoked: string[] = [];
  const purse = createPurse();
  let answer: Parameters<OrchestratorFixture["onExecute"]>[0] = (call) => ({
    status: ExecutionStatus.SUCCESS,
    output: JSON.stringify({ ran: call.name }),
  });
  let mint: Parameters<OrchestratorFixture["onMint"]>[0] = () => "token-1";
  let onCall: Parameters<OrchestratorFixture["onCall"]>[0] = () => {};
  const refuse: Interceptor = (next) => async (request) => {
    const refusal = onCall(request.method.name, request.message);
    if (refusal !== undefined) await refusal;
    return await next(request);
  };
  const pollers: (() => void)[] = [];
  const nextPoll = () => new Promise<void>((resolve) => pollers.push(resolve));

  const authenticate: Interceptor = (next) => (request) => {
    const token = request.header.get(internalTokenHeader);
    if (token !== null) seenTokens.push(token);
    const caller = token === approverToken ? approver : { ...testUser, ...identity };
    request.contextValues.set(identityKey, create(IdentitySchema, caller));
    return next(request);
  };
  const { logger = createLogger({ service: "test", level: "silent" }), ...times } = options;
  const neighbours = createInProcessTransport({
    interceptors: [errorInterceptor(logger), authenticate, refuse],
    mounts: [
      mount(JournalService, journal.handlers),
      mount(ConversationService, {
        getConversation: () => ({ conversation: journal.conversation, pendingApprovals: [...journal.approvals] }),
        getRun: () => ({ run: journal.info }),
      } as never),
      mount(ExecutionService, {
        describeTools: () => ({
          tools: [tool("calculator"), tool("send_mail", { requiresApproval: true, version: "7" }), tool("web_search")],
        }),
        checkCall: () => ({}),
        cancelCalls({ callIds }) {
          log.push(`cancel ${callIds.join(",")}`);
          return { receipts: callIds.map((callId) => ({ callId, outcome: CallOutcome.NOT_STARTED })) };
        },
        settleCalls: ({ calls }) => ({
          results: calls.map(({ callId, outcome }) =>
            outcome.case === "completed"
              ? { callId, status: ExecutionStatus.SUCCESS, output: outcome.value }
              : { callId, status: ExecutionStatus.FAILED, error: "not done" },
          ),
        }),
        async executeCalls(request, ctx) {
          log.push(`execute ${request.calls.map((call) => call.name).join(",")}`);
          executed.push(request);
          executedAs.push(requireIdentity(ctx).tokenId);
          const results = await Promise.all(
            request.calls.map(async (call) => ({ callId: call.callId, ...(await answer(call)) })),
          );
          return { results };
        },
      }),
      mount(TokenService, {
        mintInternalToken: async ({ userId, tokenId }: { userId: string; tokenId: string }) => {
          log.push("mint");
          minted.push({ userId, tokenId });
          const internalToken = await mint();
          return { internalToken, identity: create(IdentitySchema, { ...testUser, ...identity }) };
        },
        listRevocations: () => {
          for (const resolve of pollers.splice(0)) resolve();
          return { revocations: revoked.map((tokenId, i) => ({ id: BigInt(i), tokenId })) };
        },
      } as never),
      mount(SpendService, purse.handlers),
    ],
  });
  const service = await startAgentOrchestrator({
    config: loadConfig(agentConfig, {
      MESH_SECRET: "a-secret-of-the-tests-with-32-characters",
      LLM_BASE_URL: model.url,
      LLM_DEFAULT_MODEL: "gpt-test",
      ...env,
    }),
    journal: createClient(JournalService, neighbours),
    conversations: createClient(ConversationService, neighbours),
    executions: createClient(ExecutionService, neighbours),
    tokens: createClient(TokenService, neighbours),
    spend: createClient(SpendService, neighbours),
    bus: createMemoryBus({ logger }),
    logger,
    usageFlushMs: 20,
    ...times,
  });
  const transport = createInProcessTransport({ mounts: service.mounts, interceptors: [errorInterceptor(logger), authenticate] });
  return {
    agent: createClient(AgentService, transport),
    completions: createClient(CompletionService, transport),
    runs: createClient(RunService, transport),
    trials: createClient(TrialService, transport),
    model,
    journal,
    identity,
    executed,
    executedAs,
    log,
    seenTokens,
    minted,
    purse,
    onExecute(next) {
      answer = next;
    },
    onCall(next) {
      onCall = next;
    },
    onMint(next) {
      mint = next;
    },
    async revoke(tokenId) {
      revoked.push(tokenId);
      // The second poll from now comes after the answer to the first was processed.
      await nextPoll();
      await nextPoll();
    },
    ready: () => service.ready(),
    details: () => service.details?.(),
    async drain(limit) {
      await service.drain?.(limit);
    },
    async close() {
      await service.close();
      await model.close();
    },
  };
}
