import { useEffect, useMemo, useState } from "preact/hooks";
import { ApiError } from "../../api/api-error.ts";
import { api, isAbort, request } from "../../api/request.ts";
import { type Resource, useResource } from "../../api/resource.ts";
import type { Approval, GetConversationResponse, Message } from "../../api/types.ts";
import { hrefOf, navigate } from "../../router/router.ts";
import { refusalOf } from "../../ui/refusal.ts";
import { toast } from "../../ui/toasts.tsx";
import type { Outgoing } from "./composer.tsx";
import { isEnded, type LiveAnswer, type RunEvent } from "./live-run.ts";
import { drafts, forgetSend, interruptedSend, keepSend, type PendingSend } from "./pending-send.ts";
import { type Entry, openRunOf, threadOf } from "./stored-thread.ts";
import { type LiveRun, useLiveRun } from "./use-live-run.ts";

const shownMessages = 50;

/** A conversation on the screen: what is stored, what is under way, and what can be done. */
export interface Thread {
  readonly stored: Resource<GetConversationResponse | undefined>;
  readonly entries: readonly Entry[];
  readonly live: LiveRun | undefined;
  readonly approvals: readonly Approval[];
  /** The message on its way, until the conversation has it. */
  readonly outgoing: string;
  readonly isBusy: boolean;
  /** For readers: `Answer started`. */
  readonly announcement: string;
  readonly send: (outgoing: Outgoing) => void;
  readonly stop: (() => void) | undefined;
  readonly retry: () => void;
  /** Sends another text in the place of a message, in a copy of the conversation. */
  readonly resend: (sequence: number, text: string) => void;
  readonly showOlder: (() => void) | undefined;
  /** Reads the calls that wait again. */
  readonly refreshApprovals: () => void;
}

const tell = (error: unknown) => {
  const { sentence, faults } = refusalOf(error);
  toast(Object.values(faults)[0] ?? sentence ?? "It could not be done.", { isError: true });
};

/** The calls of a conversation that wait for a person. */
async function pendingOf(conversation_id: string): Promise<readonly Approval[]> {
  const found = await api("GET /v1/conversations/{conversation_id}", { path: { conversation_id }, query: { limit: 0 } });
  return found.pending_approvals;
}

function wordsFor(answer: LiveAnswer, event: RunEvent): string | undefined {
  if (event.type === "started") return "Answer started";
  if (event.type === "pending_approval") return `Waits for your approval: ${event.tool_call?.function?.name ?? "a call"}`;
  if (answer.status === "completed") {
    const text = answer.parts.map((part) => (part.kind === "text" ? part.text : "")).join(" ");
    return `Answer complete, ${text.split(/\s+/).filter((word) => word !== "").length} words`;
  }
  if (answer.status === "failed") return "The answer stopped";
  return undefined;
}

/** Follows a conversation; an empty id is a new one. */
export function useThread(conversationId: string): Thread {
  const [older, setOlder] = useState<readonly Message[]>([]);
  const [cursor, setCursor] = useState<string>();
  const [runId, setRunId] = useState<string>();
  const [approvals, setApprovals] = useState<readonly Approval[]>([]);
  const [outgoing, setOutgoing] = useState("");
  const [announcement, setAnnouncement] = useState("");
  const stored = useResource(`conversation:${conversationId}`, async (signal) => {
    if (conversationId === "") return undefined;
    const path = { conversation_id: conversationId };
    const found = await api("GET /v1/conversations/{conversation_id}", { signal, path, query: { limit: shownMessages } });
    const open = openRunOf(found.messages, found.pending_approvals.length > 0);
    setRunId(open === "" ? undefined : open);
    setApprovals(found.pending_approvals);
    setCursor((known) => known ?? found.next_cursor);
    setOutgoing("");
    return found;
  });
  const refreshApprovals = () => {
    void pendingOf(conversationId).then(setApprovals, () => {});
  };
  const live = useLiveRun(runId, (answer, event) => {
    const words = wordsFor(answer, event);
    if (words !== undefined) setAnnouncement(words);
    if (event.type === "pending_approval" || event.type === "resumed") refreshApprovals();
    // The stored answer takes the place of the one that was streamed.
    if (answer.status === "completed") stored.reload();
  });
  const messages = useMemo(() => [...older, ...(stored.data?.messages ?? [])], [older, stored.data]);
  const entries = useMemo(
    () => threadOf(messages.filter(({ run_id, role }) => runId === undefined || run_id !== runId || role === "user")),
    [messages, runId],
  );

  const dispatch = async (kept: PendingSend) => {
    setOutgoing(kept.body.message);
    try {
      const { body, purpose } = kept;
      const path = { conversation_id: kept.conversationId };
      const { run } =
        kept.conversationId === ""
          ? await api("POST /v1/runs", { body, once: purpose })
          : await api("POST /v1/conversations/{conversation_id}/runs", { path, body, once: purpose });
      forgetSend();
      if (run === null) return;
      if (run.conversation_id === conversationId) stored.reload();
      else navigate(hrefOf(`chat/${run.conversation_id}`), { replace: conversationId === "" });
    } catch (error) {
      if (isAbort(error)) return;
      // A refusal is an answer; without one, the message stays to be sent again.
      if (error instanceof ApiError && error.status >= 400 && error.status < 500) forgetSend();
      setOutgoing("");
      drafts.set(conversationId, kept.body.message);
      tell(error);
    }
  };
  useEffect(() => {
    const kept = interruptedSend();
    if (kept !== undefined) void dispatch(kept);
  }, []);

  const send = ({ message, agent, model }: Outgoing) => {
    const body = { message, ...(agent === "" ? {} : { agent_type: agent }), ...(model === "" ? {} : { model }) };
    void dispatch(keepSend({ conversationId, body }));
  };
  const isBusy = outgoing !== "" || (live !== undefined && !isEnded(live.answer));
  const act = (work: () => Promise<void>) => () => {
    void work().catch(tell);
  };
  return {
    stored,
    entries,
    live,
    approvals,
    outgoing,
    isBusy,
    announcement,
    send,
    stop:
      live === undefined || isEnded(live.answer)
        ? undefined
        : act(async () => {
            await api("POST /v1/runs/{run_id}/cancel", { path: { run_id: live.answer.runId } });
          }),
    retry: act(async () => {
      await request(`/v1/runs/${encodeURIComponent(runId ?? "")}/retry`, { method: "POST", body: {}, once: `retry:${runId}` });
      stored.reload();
    }),
    resend: (sequence, text) =>
      act(async () => {
        const fork = await request<{ conversation: { id: string } }>(`/v1/conversations/${conversationId}/fork`, {
          method: "POST",
          body: { before_sequence: sequence },
          once: `fork:${conversationId}:${sequence}`,
        });
        void dispatch(keepSend({ conversationId: fork.conversation.id, body: { message: text } }));
      })(),
    showOlder:
      cursor === undefined || cursor === ""
        ? undefined
        : act(async () => {
            const path = { conversation_id: conversationId };
            const query = { cursor, limit: shownMessages };
            const page = await api("GET /v1/conversations/{conversation_id}/messages", { path, query });
            setOlder((known) => [...page.messages, ...known]);
            setCursor(page.next_cursor);
          }),
    refreshApprovals,
  };
}
