import { randomUUID } from "node:crypto";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type Client, createClient, type Interceptor } from "@connectrpc/connect";
import { type Identity, IdentitySchema } from "@turnwright/contract/auth/v1/identity";
import { type ExecutionCallSchema, type ExecutionResult, ExecutionService } from "@turnwright/contract/tool/v1/execution_service";
import { ToolService } from "@turnwright/contract/tool/v1/tool_service";
import { hashArguments, signGrant } from "@turnwright/platform/identity/grant";
import { callerServiceKey, identityKey } from "@turnwright/platform/identity/identity";
import { createLogger, type Logger } from "@turnwright/platform/logger";
import { createPool } from "@turnwright/platform/postgres/pool";
import { createInProcessTransport } from "@turnwright/platform/rpc/in-process";
import { errorInterceptor, validationInterceptor } from "@turnwright/platform/rpc/interceptors";
import type { RunningService } from "@turnwright/platform/rpc/mount";
import { uuidv7 } from "@turnwright/platform/uuid";
import { createTestDatabase } from "@turnwright/testing/database";
import type pg from "pg";
import type { ToolConfig } from "../src/config.ts";
import { startToolExecutor } from "../src/index.ts";
import type { Tool } from "../src/tool-definition/define-tool.ts";

/** The mesh secret of the fixture. */
export const meshSecret = "a-secret-of-32-characters-for-tests";

/** The columns of a ledger row that tests read. */
export interface ExecutionRow {
  run_id: string | null;
  tool_call_id: string;
  tool_name: string;
  status: string;
  claim: number;
  output: unknown;
  error_message: string | null;
  settled_by: string | null;
}

/** One executor, as if in a process of its own. */
export interface ExecutorProcess {
  /** Its own pool, which a test may disturb. */
  readonly pool: pg.Pool;
  readonly tools: Client<typeof ToolService>;
  readonly executions: Client<typeof ExecutionService>;
  /** Executes one call of a run; `args` becomes its JSON text. */
  execute(
    call: { runId: string; callId?: string; name: string; args?: unknown; grant?: string },
    options?: { signal?: AbortSignal },
  ): Promise<ExecutionResult>;
  /** Lets calls in flight end, until the limit fires. */
  drain(limit: AbortSignal): Promise<void>;
  stop(): Promise<void>;
}

/** A database with the ledger, and executors on it. */
export interface ExecutorFixture {
  readonly pool: pg.Pool;
  readonly databaseUrl: string;
  readonly userId: string;
  start(options?: {
    /** The database's URL, where it is not the direct one. */
    databaseUrl?: string;
    tools?: readonly Tool[];
    leaseMs?: number;
    logger?: Logger;
    config?: Partial<ToolConfig>;
    identity?: MessageInitShape<typeof IdentitySchema>;
  }): Promise<ExecutorProcess>;
  /** Inserts a call into the ledger as a process that died left it. */
  leave(row: { runId: string; callId: string; tool: Tool; args: unknown; status?: string; userId?: string }): Promise<void>;
  rows(runId?: string): Promise<ExecutionRow[]>;
  stop(): Promise<void>;
}

export async function createExecutorFixture(): Promise<ExecutorFixture> {
  const database = await createTestDatabase({ services: ["tool"] });
  const logger = createLogger({ service: "test", level: "silent" });
  const openPool = (role?: string, url = database.url) =>
    createPool({ url, max: 5, schema: "tool", role, applicationName: "test", logger });
  const pool = openPool();
  const userId = randomUUID();
  const stops: (() => Promise<void>)[] = [];
  return {
    pool,
    databaseUrl: database.url,
    userId,
    async start({ databaseUrl, tools, leaseMs, logger: ownLogger = logger, config, identity } = {}) {
      const ownPool = openPool("turnwright_tool", databaseUrl);
      const service = await startToolExecutor({
        config: {
          MESH_SECRET: meshSecret,
          TOOLS_DIR: undefined,
          TOOLS_MEMORY_LIMIT: 256,
          TOOLS_SANDBOX: "auto",
          TOOLS_MAX_CONCURRENT: 10,
          TOOLS_ALLOWED_HOSTS: [],
          WEB_SEARCH_API_KEY: undefined,
          WEB_SEARCH_BASE_URL: "https://api.search.brave.com",
          ...config,
        },
        pool: ownPool,
        logger: ownLogger,
        tools,
        leaseMs,
      });
      const started = connect(
        service,
        create(IdentitySchema, { userId, tokenId: randomUUID(), ...identity } as MessageInitShape<typeof IdentitySchema>),
      );
      let stopped: Promise<void> | undefined;
      const stop = () => {
        stopped ??= service.close().then(() => ownPool.end());
        return stopped;
      };
      stops.push(stop);
      return { ...started, pool: ownPool, drain: async (limit) => service.drain?.(limit), stop };
    },
    async leave({ runId, callId, tool, args, status = "running", userId: owner = userId }) {
      const input = JSON.stringify(args);
      await pool.query(
        `insert into tool_executions (id, run_id, user_id, status, lease_until, started_at, tool_call_id, tool_name,
          tool_version, effect, input, arguments_hash)
        values ($1, $2, $3, $4, now() - interval '1 second', now() - interval '9 seconds', $5, $6, $7, $8, $9, $10)`,
        [uuidv7(), runId, owner, status, callId, tool.name, tool.version, tool.effect, input, hashArguments(input)],
      );
    },
    async rows(runId) {
      const { rows } = await pool.query<ExecutionRow>(
        `select run_id, tool_call_id, tool_name, status, claim, output, error_message, settled_by
        from tool_executions where $1::uuid is null or run_id = $1 order by tool_call_id`,
        [runId ?? null],
      );
      return rows;
    },
    async stop() {
      for (const stop of stops) await stop();
      await pool.end();
      await database.drop();
    },
  };
}

function connect(service: RunningService, identity: Identity): Omit<ExecutorProcess, "drain" | "stop" | "pool"> {
  const logger = createLogger({ service: "test", level: "silent" });
  const authenticate: Interceptor = (next) => (request) => {
    request.contextValues.set(identityKey, identity);
    request.contextValues.set(callerServiceKey, "agent-orchestrator");
    return next(request);
  };
  const transport = createInProcessTransport({
    mounts: service.mounts,
    interceptors: [errorInterceptor(logger), authenticate, validationInterceptor()],
  });
  const executions = createClient(ExecutionService, transport);
  return {
    tools: createClient(ToolService, transport),
    executions,
    async execute({ runId, callId = "call_1", name, args = {}, grant = "" }, options) {
      const call: MessageInitShape<typeof ExecutionCallSchema> = { callId, name, arguments: JSON.stringify(args), grant };
      const { results } = await executions.executeCalls({ runId, epoch: 1, calls: [call] }, options);
      const [result] = results;
      if (result === undefined) throw new Error("no result");
      return result;
    },
  };
}

/** A grant for a call with these arguments; `init` replaces some of its claims. */
export function grantFor(
  tool: Tool,
  call: { runId: string; callId?: string; args: unknown },
  init: { secret?: string; ttlSeconds?: number; epoch?: number; tokenId?: string } = {},
): Promise<string> {
  const { runId, callId = "call_1", args } = call;
  const argumentsHash = hashArguments(JSON.stringify(args));
  const { epoch = 1, tokenId } = init;
  const claims = { runId, epoch, callId, tool: tool.name, toolVersion: tool.version, argumentsHash, tokenId };
  return signGrant(init.secret ?? meshSecret, claims, init.ttlSeconds);
}
