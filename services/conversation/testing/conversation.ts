import { randomUUID } from "node:crypto";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type Client, Code, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { type Identity, IdentitySchema, Role, TokenType } from "@turnwright/contract/auth/v1/identity";
import {
  type CheckApiKeysRequest,
  type NameCredentialsRequest,
  type RevocationSchema,
  TokenService,
} from "@turnwright/contract/auth/v1/token_service";
import { ConversationService } from "@turnwright/contract/conversation/v1/conversation_service";
import { EventService } from "@turnwright/contract/conversation/v1/event_service";
import type { BeginRunRequestSchema, CommitRunRequestSchema } from "@turnwright/contract/conversation/v1/journal_service";
import { JournalService } from "@turnwright/contract/conversation/v1/journal_service";
import { type RunContext, RunStatus } from "@turnwright/contract/conversation/v1/run";
import { RunAdminService } from "@turnwright/contract/conversation/v1/run_admin_service";
import { RunStepService } from "@turnwright/contract/conversation/v1/run_step_service";
import { WebhookService } from "@turnwright/contract/conversation/v1/webhook_service";
import { ErrorReason, reasonOf } from "@turnwright/platform/errors";
import { callerServiceKey, identityKey } from "@turnwright/platform/identity/identity";
import { createLogger, type Logger } from "@turnwright/platform/logger";
import { createPool } from "@turnwright/platform/postgres/pool";
import { openServiceDatabase, type ServicePools } from "@turnwright/platform/postgres/service-database";
import { createInProcessTransport } from "@turnwright/platform/rpc/in-process";
import { errorInterceptor, validationInterceptor } from "@turnwright/platform/rpc/interceptors";
import { mount } from "@turnwright/platform/rpc/mount";
import { uuidv7 } from "@turnwright/platform/uuid";
import { createTestDatabase } from "@turnwright/testing/database";
import type pg from "pg";
import { startConversation } from "../src/index.ts";
import { connectionSettings } from "../src/store/connection-settings.ts";
import type { WebhookPace } from "../src/webhooks/worker.ts";

/** The secret of the fixture's mesh. */
export const meshSecret = "a-secret-of-32-characters-for-tests";

/** A user of the service under test, with clients authenticated as them. */
export interface Person {
  readonly userId: string;
  readonly tokenId: string;
  readonly conversations: Client<typeof ConversationService>;
  readonly journal: Client<typeof JournalService>;
  readonly webhooks: Client<typeof WebhookService>;
  readonly allRuns: Client<typeof RunAdminService>;
  readonly runSteps: Client<typeof RunStepService>;
  readonly events: Client<typeof EventService>;
  /** Begins a run, in a new conversation unless `conversationId` is given. */
  begin(init?: MessageInitShape<typeof BeginRunRequestSchema>): Promise<RunContext>;
  /** Commits a step of a run that `begin` returned. */
  commit(context: RunContext, init: MessageInitShape<typeof CommitRunRequestSchema>): ReturnType<Person["journal"]["commitRun"]>;
  /** Ends a run with an answer. */
  answer(context: RunContext, content?: string): Promise<void>;
  /** Commits a step with calls that wait for approval, under the given ids. */
  park(context: RunContext, callIds: readonly string[]): Promise<void>;
  /** Begins a run that waits for the approval of calls with the given ids. */
  parked(...callIds: string[]): Promise<{ context: RunContext; conversationId: string }>;
}

/** The API keys as auth knows them. */
interface KeysAtAuth {
  /** The valid keys and their expiry; null: never. */
  readonly live: Map<string, Date | null>;
  /** UUIDs of the accounts that are closed. */
  readonly closed: Set<string>;
  /** Awaited before auth answers with names. */
  beforeNames: () => Promise<void>;
  /** Ids of keys that the service has asked for. */
  readonly asked: string[];
  /** Names of accounts and keys by id; undefined: auth does not answer for names. */
  names: Map<string, string> | undefined;
  /** Ids of credentials whose names the service has asked for, one list for each question. */
  readonly askedNames: string[][];
  /** Awaited before auth answers which keys are valid. */
  beforeAnswer: () => Promise<void>;
  /** Announces that a credential ended or changed; `told`: what auth knows of it. */
  tellOf(tokenId: string, told?: { userId: string; kind: string; hasEnded: boolean }): void;
}

/** The service on a database of its own. */
export interface ConversationFixture {
  /** A pool under the owner's login, which sees all rows. */
  readonly pool: pg.Pool;
  /** Pools with the roles and settings of the service. */
  readonly database: ServicePools;
  readonly keys: KeysAtAuth;
  /** Restarts the service; people from before cannot reach the new one. */
  restart(): Promise<void>;
  /** With `userId`: a further credential of that user. */
  person(init?: { role?: Role; userId?: string; tokenType?: TokenType }): Person;
  /** The same user through another credential: a key, unless `tokenType` says otherwise. */
  through(person: Person, identity: Partial<Omit<Identity, "$typeName">>): Person;
  stop(): Promise<void>;
}

export async function startConversationFixture({
  max = 10,
  approvalExpiryMs = 0,
  allowedHosts = [],
  webhookPace,
  logger = createLogger({ service: "test", level: "silent" }),
}: {
  /** The most connections. */
  max?: number;
  approvalExpiryMs?: number;
  /** Hosts on this machine that webhooks may reach. */
  allowedHosts?: string[];
  webhookPace?: Partial<WebhookPace>;
  logger?: Logger;
} = {}): Promise<ConversationFixture> {
  const database = await createTestDatabase({ services: ["conversation"] });
  const pool = createPool({ url: database.url, max, schema: "conversation", applicationName: "test", logger });
  const own = openServiceDatabase({ url: database.url, schema: "conversation", max, logger });
  const config = { MESH_SECRET: meshSecret, APPROVAL_EXPIRY: approvalExpiryMs, WEBHOOK_ALLOWED_HOSTS: allowedHosts };
  const revoked: MessageInitShape<typeof RevocationSchema>[] = [];
  const keys: KeysAtAuth = {
    live: new Map(),
    asked: [],
    names: new Map(),
    askedNames: [],
    beforeAnswer: async () => {},
    closed: new Set(),
    beforeNames: async () => {},
    tellOf: (tokenId, told) => revoked.push({ ...told, id: BigInt(revoked.length), tokenId }),
  };
  const auth = mount(TokenService, {
    listRevocations: () => ({ revocations: revoked, keyIds: ["k"] }),
    async checkApiKeys({ apiKeyIds, userIds }: CheckApiKeysRequest) {
      keys.asked.push(...apiKeyIds);
      if (apiKeyIds.length > 0) await keys.beforeAnswer();
      const live = apiKeyIds.flatMap((id) => {
        const expiresAt = keys.live.get(id);
        return expiresAt === undefined ? [] : [{ id, expiresAt: expiresAt === null ? undefined : timestampFromDate(expiresAt) }];
      });
      return { apiKeys: live, closedUserIds: userIds.filter((id) => keys.closed.has(id)) };
    },
    async nameCredentials({ userId, tokenIds }: NameCredentialsRequest) {
      await keys.beforeNames();
      keys.askedNames.push(tokenIds);
      const { names } = keys;
      if (names === undefined) throw new ConnectError("away", Code.Unavailable);
      const apiKeys = tokenIds.flatMap((id) => (names.has(id) ? [{ id, name: names.get(id) }] : []));
      return { userName: names.get(userId) ?? "", apiKeys };
    },
  } as never);
  const tokens = createClient(
    TokenService,
    createInProcessTransport({ mounts: [auth], interceptors: [errorInterceptor(logger)] }),
  );
  const open = () => startConversation({ config, database: own, tokens, logger, webhookPace });
  let service = open();
  await service.ready();
  const personAs = (identity: MessageInitShape<typeof IdentitySchema> & { userId: string; tokenId: string }): Person => {
    const authenticate: Interceptor = (next) => (request) => {
      request.contextValues.set(identityKey, create(IdentitySchema, identity));
      request.contextValues.set(callerServiceKey, "agent-orchestrator");
      return next(request);
    };
    const transport = createInProcessTransport({
      mounts: service.mounts,
      interceptors: [errorInterceptor(logger), authenticate, validationInterceptor()],
    });
    return makePerson({
      userId: identity.userId,
      tokenId: identity.tokenId,
      conversations: createClient(ConversationService, transport),
      journal: createClient(JournalService, transport),
      webhooks: createClient(WebhookService, transport),
      allRuns: createClient(RunAdminService, transport),
      runSteps: createClient(RunStepService, transport),
      events: createClient(EventService, transport),
    });
  };
  return {
    pool,
    database: own.withSettings(connectionSettings({ approvalExpiryMs })),
    keys,
    async restart() {
      await service.close();
      service = open();
      await service.ready();
    },
    person({ role = Role.USER, userId = randomUUID(), tokenType = TokenType.ACCESS } = {}) {
      const tokenId = randomUUID();
      return personAs({ userId, tokenId, role, tokenType, familyId: tokenId });
    },
    through({ userId }, identity) {
      const tokenId = identity.tokenId ?? randomUUID();
      return personAs({ role: Role.USER, tokenType: TokenType.API_KEY, familyId: tokenId, ...identity, userId, tokenId });
    },
    async stop() {
      await service.close();
      await own.end();
      await pool.end();
      await database.drop();
    },
  };
}

function makePerson(
  base: Pick<Person, "userId" | "tokenId" | "conversations" | "journal" | "webhooks" | "allRuns" | "runSteps" | "events">,
): Person {
  const { journal } = base;
  const commit: Person["commit"] = ({ run }, init) => journal.commitRun({ runId: run?.id, epoch: run?.epoch, ...init });
  const begin: Person["begin"] = async (init = {}) => {
    const { context } = await journal.beginRun({ runId: uuidv7(), message: "Hello", ...init });
    if (context === undefined) throw new Error("no context");
    return context;
  };
  const park: Person["park"] = async (context, callIds) => {
    await commit(context, {
      status: RunStatus.WAITING,
      node: "approve",
      state: '{ "round": 1 }',
      messages: [{ id: uuidv7(), role: "assistant", toolCalls: callIds.map(toolCall) }],
      approvals: callIds.map((callId) => ({
        callId,
        toolName: "http_request",
        toolVersion: "3",
        arguments: toolCall(callId).function.arguments,
      })),
    });
  };
  return {
    ...base,
    commit,
    begin,
    park,
    async answer(context, content = "Hi") {
      await commit(context, { status: RunStatus.COMPLETED, messages: [{ id: uuidv7(), role: "assistant", content }] });
    },
    async parked(...callIds) {
      const context = await begin({ message: "Send it" });
      await park(context, callIds);
      return { context, conversationId: context.conversation?.id ?? "" };
    },
  };
}

/** A call of a tool that needs approval. */
export function toolCall(id: string) {
  return { id, type: "function", function: { name: "http_request", arguments: `{"url": "https://example.com/${id}"}` } };
}

/** The reason with which a call fails; undefined when it succeeds. */
export async function reasonFor(call: Promise<unknown>): Promise<ErrorReason | undefined> {
  return call.then(
    () => undefined,
    (error) => reasonOf(error),
  );
}

export { ErrorReason };
