import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "../../api/request.ts";
import { useResource } from "../../api/resource.ts";
import type { Conversation } from "../../api/types.ts";
import { dateText, timeOf } from "../../format/time.ts";
import { useKeys } from "../../keyboard/keys.ts";
import { onUserEvent } from "../../live/user-events.ts";
import { hrefOf, navigate, query, setQuery } from "../../router/router.ts";
import { Button } from "../../ui/button.tsx";
import { ErrorBox, Loading } from "../../ui/states.tsx";
import { StatusWord } from "../../ui/status-word.tsx";
import { minuteClock } from "../../ui/time.tsx";

const pageSize = 50;
/** Least time between two reloads by events. */
const reloadMs = 1_000;

/** The heading under which a conversation stands: `Today`, `Yesterday`, a date. */
export function dayOf(at: string | null, now: Date): string {
  const date = timeOf(at);
  if (date === undefined) return "Earlier";
  const days = Math.round((new Date(now).setHours(0, 0, 0, 0) - new Date(date).setHours(0, 0, 0, 0)) / 86_400_000);
  if (days <= 0) return "Today";
  return days === 1 ? "Yesterday" : dateText(date);
}

function Line({ conversation, isCurrent }: { readonly conversation: Conversation; readonly isCurrent: boolean }) {
  const { id, title, status } = conversation;
  const isIdle = status === "active" || status === "completed";
  return (
    <a class="conversation" href={hrefOf(`chat/${id}`)} aria-current={isCurrent ? "page" : undefined}>
      <bdi class="conversation-title">{title === "" ? "Untitled" : title}</bdi>
      {!isIdle && <StatusWord status={status} />}
    </a>
  );
}

/** The conversations, newest first, with a search. */
export function ConversationList({ currentId, round }: { readonly currentId: string; readonly round: number }) {
  const q = query.value.get("q") ?? "";
  const [more, setMore] = useState<readonly Conversation[]>([]);
  const [next, setNext] = useState<string>();
  const search = useRef<HTMLInputElement>(null);
  const { data, error, reload, isLoading } = useResource(`conversations:${q}:${round}`, async (signal) => {
    const page = await api("GET /v1/conversations", { signal, query: { limit: pageSize, q } });
    setMore([]);
    setNext(page.next_cursor);
    return page;
  });
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stop = onUserEvent(({ type }) => {
      if (type !== "run.changed") return;
      timer ??= setTimeout(() => {
        timer = undefined;
        reload();
      }, reloadMs);
    });
    return () => {
      stop();
      clearTimeout(timer);
    };
  }, [reload]);
  useKeys({
    "/": () => search.current?.focus(),
    c: () => navigate(hrefOf("chat/new")),
  });
  const older = async () => {
    const page = await api("GET /v1/conversations", { query: { limit: pageSize, q, cursor: next } });
    setMore([...more, ...page.conversations]);
    setNext(page.next_cursor);
  };
  const all = [...(data?.conversations ?? []), ...more];
  const days = Map.groupBy(all, ({ last_message_at, created_at }) => dayOf(last_message_at ?? created_at, minuteClock.value));
  return (
    <nav class="conversations" aria-label="Conversations">
      <input
        ref={search}
        class="input"
        type="search"
        aria-label="Search conversations"
        placeholder="Search…"
        value={q}
        maxLength={200}
        onInput={(event) => setQuery({ q: event.currentTarget.value })}
      />
      <Button href={hrefOf("chat/new")} shortcut="c">
        New chat
      </Button>
      {error !== undefined && <ErrorBox error={error} onRetry={reload} />}
      {data === undefined && error === undefined && <Loading what="conversations" />}
      {data !== undefined && all.length === 0 && (
        <p class="meta">{q === "" ? "No conversations yet. Ask something." : "None has these words."}</p>
      )}
      <div class={isLoading ? "is-loading" : undefined}>
        {[...days].map(([day, conversations]) => (
          <section key={day} aria-label={day}>
            <h2 class="conversation-day">{day}</h2>
            {conversations.map((conversation) => (
              <Line key={conversation.id} conversation={conversation} isCurrent={conversation.id === currentId} />
            ))}
          </section>
        ))}
      </div>
      {next !== undefined && next !== "" && <Button onClick={() => void older()}>Show older</Button>}
    </nav>
  );
}
