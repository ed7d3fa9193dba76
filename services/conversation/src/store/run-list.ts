import type { RunInfo } from "@turnwright/contract/conversation/v1/run";
import { ErrorReason, fail } from "@turnwright/platform/errors";
import { afterPosition, createdUsOf, type KeysetPosition } from "@turnwright/platform/postgres/keyset-cursor";
import type { Queryable } from "@turnwright/platform/postgres/pool";
import { type SizedRow, sizedPage, sizedRows } from "./response-size.ts";
import { agentOfRun, type InfoRow, infoColumns, toRunInfo } from "./runs.ts";

/** The properties that the runs of a list have in common; an empty or missing field: any. */
export interface RunFilter {
  readonly statuses: readonly string[];
  readonly agent: string;
  readonly model: string;
  /** UUID of the credential that started the run. */
  readonly tokenId: string;
  /** UUID of the run. */
  readonly runId: string;
  /** Name of the reason for which the run failed. */
  readonly reason: string;
  /** When it was accepted, inclusive, as SQL text. */
  readonly from?: string;
  /** When it was accepted, exclusive, as SQL text. */
  readonly to?: string;
  /** Texts that the title of its conversation has, all of them, in capitals or not. */
  readonly words: readonly string[];
}

/** A pattern of LIKE for texts that have a word. */
function patternOf(word: string): string {
  return `%${word.replaceAll(/[\\%_]/g, "\\$&")}%`;
}

/** A condition of a run `r`, its parameter written as `$`, and the parameter's value. */
export type Condition = readonly [sql: string, value: unknown];

/** The conditions of a filter, by what they read. */
export interface Conditions {
  /** Of the time at which a run was accepted. */
  readonly range: readonly Condition[];
  /** Of other columns of the run. */
  readonly run: readonly Condition[];
  /** Of the run together with its conversation `c`. */
  readonly conversation: readonly Condition[];
}

/** The conditions of a filter. */
export function conditionsOf(filter: RunFilter): Conditions {
  const { statuses, agent, model, tokenId, runId, reason, from, to, words } = filter;
  const given = (...list: [isGiven: boolean, condition: Condition][]) =>
    list.flatMap(([isGiven, condition]) => (isGiven ? [condition] : []));
  return {
    range: given(
      [from !== undefined, ["r.created_at >= $::timestamptz", from]],
      [to !== undefined, ["r.created_at < $::timestamptz", to]],
    ),
    run: given(
      [statuses.length === 1, ["r.status = $", statuses[0]]],
      [statuses.length > 1, ["r.status = any ($::text[])", statuses]],
      [tokenId !== "", ["r.token_id = $::uuid", tokenId]],
      [runId !== "", ["r.run_id = $::uuid", runId]],
      [reason !== "", ["r.error_reason = $", reason]],
      [model !== "", ["r.model = $", model]],
      // Most runs have taken a step, so their conversations need not be read.
      [agent !== "", ["r.agent in ($, '')", agent]],
    ),
    conversation: given(
      [agent !== "", [`${agentOfRun} = $`, agent]],
      [words.length > 0, ["c.title ilike all ($::text[])", words.map(patternOf)]],
    ),
  };
}

/** The values of the parameters of conditions, in order. */
export function valuesOf({ range, run, conversation }: Conditions): unknown[] {
  return [...range, ...run, ...conversation].map(([, value]) => value);
}

/** Conditions as SQL to append to others, with parameters from `$first` on. */
export function conjunction(conditions: readonly Condition[], first: number): string {
  return conditions.map(([sql], index) => ` and ${sql.replace("$", `$${first + index}`)}`).join("");
}

/**
 * SQL that holds for a run whose conversation is not deleted and fits conditions. A subquery and no join: by the
 * estimates of row security a join would begin with the conversations, all of them, instead of the newest runs.
 */
export function standing(conditions: readonly Condition[], first: number): string {
  const fits = `c.deleted_at is null${conjunction(conditions, first)}`;
  return `(select ${fits} from conversations c where c.id = r.conversation_id)`;
}

/** The runs `r` of the CTE `page` with their conversations `c`, found by their keys; see `standing`. */
export const runsOfPage = `page
    cross join lateral (select * from runs where run_id = page.run_id offset 0) r
    cross join lateral (select title, agent_type from conversations where id = r.conversation_id offset 0) c`;

const runBytes =
  "coalesce(octet_length(input), 0) + coalesce(octet_length(response), 0) + coalesce(octet_length(unsettled::text), 0)";
const noConditions: Conditions = { range: [], run: [], conversation: [] };
const firstCondition = 6;

/** One statement per index: by user, or by conversation. Exported for the test of its plan. */
export function runListSql(ofConversation: boolean, { range, run, conversation }: Conditions = noConditions): string {
  const ofRun = [...range, ...run];
  return `
with page as materialized (
  select r.run_id from runs r
  where r.user_id = $1 and ${ofConversation ? "r.conversation_id = $2::uuid" : "$2::uuid is null"}
    and ${afterPosition("$3", "$4", { createdAt: "r.created_at", id: "r.run_id" })}${conjunction(ofRun, firstCondition)}
    and ${standing(conversation, firstCondition + ofRun.length)}
  order by r.created_at desc, r.run_id desc
  limit $5
)${sizedRows(
    `select ${infoColumns}, ${createdUsOf("r.created_at")}
  from ${runsOfPage}`,
    "created_at desc, run_id desc",
    runBytes,
  )}
order by created_at desc, run_id desc`;
}

const whole = {
  ofUser: { name: "runs-list", text: runListSql(false) },
  ofConversation: { name: "runs-list-conversation", text: runListSql(true) },
};

/** The statement of a list. One with a filter is planned for the values of the filter. */
function listStatement(ofConversation: boolean, conditions: Conditions): { name?: string; text: string } {
  if (valuesOf(conditions).length > 0) return { text: runListSql(ofConversation, conditions) };
  return ofConversation ? whole.ofConversation : whole.ofUser;
}

function textsOfRun({ input, response, unsettled }: InfoRow): string[] {
  return [input ?? "", response ?? "", ...(unsettled?.calls ?? []).map((call) => call.arguments)];
}

const conversationSql = "select from conversations where id = $1 and user_id = $2 and deleted_at is null";

/**
 * A page of a user's runs, newest first. `next` is the start of the following page; unset on the last. Throws NOT_FOUND
 * when the conversation does not exist or is another user's.
 */
export async function listRuns(
  db: Queryable,
  asked: { userId: string; conversationId: string; filter: RunFilter; after: KeysetPosition; limit: number },
): Promise<{ runs: RunInfo[]; next?: KeysetPosition }> {
  const { userId, conversationId, filter, after, limit } = asked;
  const conditions = conditionsOf(filter);
  const { rows } = await db.query<InfoRow & SizedRow>({
    ...listStatement(conversationId !== "", conditions),
    // One row more than the page shows whether another page follows.
    values: [userId, conversationId || null, after.createdUs, after.id, limit + 1, ...valuesOf(conditions)],
  });
  if (rows.length === 0 && conversationId !== "") {
    const { rowCount } = await db.query(conversationSql, [conversationId, userId]);
    if (rowCount === 0) throw fail(ErrorReason.NOT_FOUND, "There is no such conversation.", { param: "conversation_id" });
  }
  const { page, next } = sizedPage(rows, limit, ({ run_id }) => run_id, textsOfRun);
  return { runs: page.map(toRunInfo), next };
}
