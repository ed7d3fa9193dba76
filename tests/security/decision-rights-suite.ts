import { randomUUID } from "node:crypto";
import { createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { AgentService } from "@turnwright/contract/agent/v1/agent_service";
import { RunService } from "@turnwright/contract/agent/v1/run_service";
import { reasonName, reasonOf } from "@turnwright/platform/errors";
import { beforeAll, expect, test } from "vitest";
import type { EffectCounter } from "../e2e/effect-counter.ts";
import { send } from "./requests.ts";
import type { Account, Stage } from "./stage.ts";

/** A call that waits for a person. */
interface Parked {
  readonly runId: string;
  readonly conversationId: string;
  readonly approvalId: string;
  readonly args: Readonly<Record<string, string>>;
}

/** The result of a decision: `done`, or the wire code of the refusal. */
type Door = (token: string, parked: Parked) => Promise<string>;

const wireCodes: Readonly<Record<string, string>> = { PERMISSION_DENIED: "FORBIDDEN" };

function restDoor(stage: () => Stage, path: (parked: Parked) => string, body: (parked: Parked) => object): Door {
  return async (token, parked) => {
    const headers = { authorization: `Bearer ${token}` };
    const ask = { method: "POST", path: path(parked), headers, body: JSON.stringify(body(parked)) };
    const answer = await send(stage().baseUrl, ask);
    if (answer.status < 300) return "done";
    const { error } = JSON.parse(answer.body) as { error: { code: string } };
    expect({ status: answer.status, code: error.code }).toMatchObject({ status: 403 });
    return error.code;
  };
}

function rpcDoor(
  transport: () => Transport,
  call: (transport: Transport, parked: Parked, init: object) => Promise<unknown>,
): Door {
  return async (token, parked) => {
    try {
      await call(transport(), parked, { headers: { authorization: `Bearer ${token}` } });
      return "done";
    } catch (error) {
      const name = reasonName(reasonOf(error)).replace("ERROR_REASON_", "");
      return wireCodes[name] ?? name;
    }
  };
}

const approve = (transport: Transport, { conversationId }: Parked, init: object) =>
  createClient(AgentService, transport).approveConversation({ conversationId, approved: true }, init);
const edit = (transport: Transport, { approvalId, args }: Parked, init: object) =>
  createClient(AgentService, transport).decideApproval(
    { approvalId, approved: true, arguments: { ...args, body: "edited" } },
    init,
  );
const review = (transport: Transport, { runId }: Parked, init: object) =>
  createClient(RunService, transport).reviewRun({ runId, calls: [{ callId: "reviewed", outcome: "completed" }] }, init);

/** The tests of one shape: a credential decides only where it may. `effects` counts what tools do outside. */
export function testDecisionRights(shape: string, given: () => { stage: Stage; effects: EffectCounter }): void {
  let stage: Stage;
  let effects: EffectCounter;
  beforeAll(() => {
    ({ stage, effects } = given());
  });

  const transports: Readonly<Record<string, () => Transport>> = {
    Connect: () => createConnectTransport({ baseUrl: stage.baseUrl, httpVersion: "1.1" }),
    gRPC: () => createGrpcTransport({ baseUrl: stage.baseUrl }),
    "gRPC-web": () => createGrpcWebTransport({ baseUrl: stage.baseUrl, httpVersion: "1.1" }),
  };
  const rest = (path: (parked: Parked) => string, body: (parked: Parked) => object) => restDoor(() => stage, path, body);
  const decisionPath = ({ approvalId }: Parked) => `/v1/approvals/${approvalId}/decision`;
  const doors: Readonly<Record<string, Door>> = {
    "POST approve": rest(
      ({ conversationId }) => `/v1/conversations/${conversationId}/approve`,
      () => ({ approved: true }),
    ),
    "POST approve, to reject": rest(
      ({ conversationId }) => `/v1/conversations/${conversationId}/approve`,
      () => ({ approved: false, reason: "no" }),
    ),
    "POST decision": rest(decisionPath, () => ({ approved: true })),
    "POST decision, with other arguments": rest(decisionPath, ({ args }) => ({
      approved: true,
      arguments: { ...args, body: "edited" },
    })),
    ...Object.fromEntries(
      Object.entries(transports).flatMap(([name, transport]) => [
        [`${name} ApproveConversation`, rpcDoor(transport, approve)],
        [`${name} DecideApproval, with other arguments`, rpcDoor(transport, edit)],
      ]),
    ),
  };
  const reviewDoors: Readonly<Record<string, Door>> = {
    "POST review": rest(
      ({ runId }) => `/v1/runs/${runId}/review`,
      () => ({ calls: [{ call_id: "reviewed", outcome: "completed", output: { sent: true } }] }),
    ),
    ...Object.fromEntries(
      Object.entries(transports).map(([name, transport]) => [`${name} ReviewRun`, rpcDoor(transport, review)]),
    ),
  };

  const keyOf = async (maker: string, init: object = {}) =>
    (await stage.call<{ key: string }>("POST", "/v1/api-keys", maker, { name: "k", ...init })).key;

  /** A family of keys without may_approve, and other credentials of the same user. */
  async function cast() {
    const owner: Account = await stage.account();
    const maker = await keyOf(owner.accessToken, { may_approve: true });
    const plainMaker = await keyOf(owner.accessToken);
    const starter = await keyOf(plainMaker);
    return {
      owner: owner.accessToken,
      starter,
      refused: {
        "the key that started it": starter,
        "a key that this one made": await keyOf(starter),
        "the key that made this one": plainMaker,
        "a key that was made by the same key": await keyOf(plainMaker),
      },
      toolless: await keyOf(owner.accessToken, { allowed_tools: ["calculator"], may_approve: true }),
      other: await keyOf(owner.accessToken, { allowed_tools: ["http_request"] }),
      approver: maker,
    };
  }

  async function parked(starter: string): Promise<Parked> {
    const message = `Send an HTTP request to ${effects.url} saying ${randomUUID()}`;
    const { conversation_id: conversationId } = await stage.call<{ conversation_id: string }>(
      "POST",
      "/v1/conversations",
      starter,
      {
        message,
      },
    );
    const { rows } = await stage.database.query<{ id: string; run_id: string; arguments: string }>(
      "select id, run_id, arguments from conversation.approvals where conversation_id = $1",
      [conversationId],
    );
    const [row] = rows as [(typeof rows)[0]];
    return { conversationId, runId: row.run_id, approvalId: row.id, args: JSON.parse(row.arguments) };
  }

  /** The records that a decision could change. */
  const recorded = async ({ runId }: Parked) => {
    const { rows } = await stage.database.query(
      `select r.status, r.epoch, r.seq, r.cost,
         (select json_agg(a order by a.id) from conversation.approvals a where a.run_id = r.run_id) as approvals,
         (select json_agg(e order by e.id) from tool.tool_executions e where e.run_id = r.run_id) as executions,
         (select count(*) from conversation.audit_log l where l.event like '%' || r.run_id || '%') as audit
       from conversation.runs r where r.run_id = $1`,
      [runId],
    );
    return rows;
  };

  test("a credential that may not decide is refused at every door, before anything is recorded", async () => {
    const { starter, refused, toolless } = await cast();
    const call = await parked(starter);
    const before = await recorded(call);
    const sent = effects.bodies.length;
    const wrong: string[] = [];
    let cells = 0;
    for (const [doorName, door] of Object.entries(doors)) {
      for (const [who, key] of Object.entries({ ...refused, "a key without the tool": toolless })) {
        const answer = await door(key, call);
        if (answer !== (key === toolless ? "TOOL_NOT_ALLOWED" : "FORBIDDEN")) wrong.push(`${doorName} by ${who}: ${answer}`);
        cells += 1;
      }
    }
    expect(wrong).toEqual([]);
    expect(await recorded(call)).toEqual(before);
    expect(effects.bodies).toHaveLength(sent);
    console.log(`${shape}: decision doors × refused deciders: ${cells} cells, ${wrong.length} wrong`);
  }, 60_000);

  test("a login, a key of another family and a family key with may_approve decide by the same doors", async () => {
    const { owner, starter, other, approver } = await cast();
    const sibling = await keyOf(approver);
    const pairs: [string, string][] = [
      [starter, owner],
      [starter, other],
      [owner, other],
      [sibling, approver],
      [approver, approver],
    ];
    const wrong: string[] = [];
    for (const [doorName, door] of Object.entries(doors)) {
      for (const [by, decider] of pairs) {
        const call = await parked(by);
        const answer = await door(decider, call);
        const [row] = await recorded(call);
        const isDecided = row.approvals.every((one: { status: string }) => one.status !== "pending");
        if (answer !== "done" || !isDecided) wrong.push(`${doorName}: ${answer}`);
      }
    }
    expect(wrong).toEqual([]);
  }, 120_000);

  test("a review is a decision as well", async () => {
    const { owner, starter, refused, toolless, other } = await cast();
    const settled = async (door: Door, decider: string) => {
      const call = await inReview(starter);
      return { call, answer: await door(decider, call) };
    };
    const wrong: string[] = [];
    for (const [doorName, door] of Object.entries(reviewDoors)) {
      const call = await inReview(starter);
      const before = await recorded(call);
      for (const [who, key] of Object.entries({ ...refused, "a key without the tool": toolless })) {
        const answer = await door(key, call);
        if (answer !== (key === toolless ? "TOOL_NOT_ALLOWED" : "FORBIDDEN")) wrong.push(`${doorName} by ${who}: ${answer}`);
      }
      expect(await recorded(call)).toEqual(before);
      for (const key of [owner, other]) {
        const { answer, call: open } = await settled(door, key);
        const [row] = await recorded(open);
        if (answer !== "done" || row.executions[0].status !== "success") wrong.push(`${doorName}: ${answer}`);
      }
    }
    expect(wrong).toEqual([]);
  }, 120_000);

  /** A run whose process died during a call, with the journal and the ledger in their state at that moment. */
  async function inReview(starter: string): Promise<Parked> {
    const call = await parked(starter);
    const { database } = stage;
    await database.query("delete from conversation.approvals where run_id = $1", [call.runId]);
    await database.query(
      `with reviewed as (
         update conversation.runs set status = 'needs_review', seq = seq + 1 where run_id = $1 returning run_id, seq
       )
       insert into conversation.run_events (run_id, seq, type, payload)
       select run_id, seq, 'needs_review', '{"calls":[{"id":"reviewed","name":"http_request","arguments":"{}"}]}' from reviewed`,
      [call.runId],
    );
    await database.query(
      `update conversation.messages set tool_calls = jsonb_set(tool_calls::jsonb, '{0,id}', '"reviewed"')::json
       where conversation_id = $1 and tool_calls is not null`,
      [call.conversationId],
    );
    await database.query(
      `insert into tool.tool_executions (id, run_id, user_id, status, started_at, tool_call_id, tool_name, tool_version, effect, input,
         arguments_hash)
       select gen_random_uuid(), run_id, user_id, 'unknown', now(), 'reviewed', 'http_request', '1', 'once', '{}', ''
       from conversation.runs where run_id = $1`,
      [call.runId],
    );
    return call;
  }
}
