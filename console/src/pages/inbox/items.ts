import type { Approval, InboxItem } from "../../api/types.ts";
import { countText } from "../../format/money.ts";
import { spanText } from "../../format/time.ts";

/** The sentence above the inbox: `3 wait for you, the oldest 2 h 10 min`. */
export function inboxSentence(waiting: number, oldestAt: string | null, now: Date): string {
  if (waiting === 0) return "Nothing waits for you.";
  const age = oldestAt === null ? "" : `, the oldest ${spanText(now.getTime() - new Date(oldestAt).getTime())}`;
  return `${countText(waiting, "call waits", "calls wait")} for you${age}.`;
}

/** The call of an item in one line. */
export function briefOf({ calls }: InboxItem): string {
  const [call] = calls;
  return call === undefined ? "" : call.arguments.replaceAll(/\s+/g, " ").slice(0, 120);
}

/** Whether an item's arguments are only their beginning. */
export function isCut({ calls }: InboxItem): boolean {
  const [call] = calls;
  return call !== undefined && new TextEncoder().encode(call.arguments).length < call.arguments_bytes;
}

/** The approval that an item of the inbox is, with what the inbox tells of it. */
export function approvalOf(item: InboxItem): Approval {
  const [call] = item.calls;
  return {
    id: item.id,
    conversation_id: item.conversation_id,
    run_id: item.run_id,
    call_id: call?.call_id ?? "",
    tool_name: call?.tool_name ?? "",
    tool_version: call?.tool_version ?? "",
    arguments: call?.arguments ?? "",
    status: item.status,
    reason: item.reason,
    decided_by: item.decided_by,
    created_at: item.created_at,
    decided_at: item.decided_at,
    edited_arguments: "",
    expires_at: item.expires_at,
    decided_by_token_id: "",
    decided_by_token_type: "",
    superseded_by: "",
    decided_by_name: item.decided_by_name,
    decided_via: item.decided_via,
  };
}

/** Whether an item may be approved with others in one go: an effect that happens once is looked at alone. */
export function isBulkable(item: InboxItem): boolean {
  return item.kind === "approval" && item.status === "pending" && item.calls[0]?.effect !== "once" && !isCut(item);
}

/** The item to open after one was decided: the next that still waits, else the one before. */
export function nextOpen(items: readonly InboxItem[], decided: ReadonlySet<string>, from: string): string | undefined {
  const at = items.findIndex(({ id }) => id === from);
  const open = (item: InboxItem) => !decided.has(item.id) && item.id !== from;
  return (items.slice(at + 1).find(open) ?? items.slice(0, Math.max(0, at)).findLast(open))?.id;
}
