import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "../../api/request.ts";
import { useResource } from "../../api/resource.ts";
import type { DecisionResult, InboxItem } from "../../api/types.ts";
import { standingText } from "../../approvals/decide.ts";
import { spanText, timeOf } from "../../format/time.ts";
import { useKeys } from "../../keyboard/keys.ts";
import { onUserEvent } from "../../live/user-events.ts";
import { hrefOf, navigate, query, setQuery } from "../../router/router.ts";
import { Button } from "../../ui/button.tsx";
import { PageHead, type PageProps } from "../../ui/page.tsx";
import { Pager, usePages } from "../../ui/pager.tsx";
import { Empty, ErrorBox, Loading } from "../../ui/states.tsx";
import { StatusWord } from "../../ui/status-word.tsx";
import { minuteClock } from "../../ui/time.tsx";
import { BulkDialog } from "./bulk.tsx";
import { Detail } from "./detail.tsx";
import { approvalOf, briefOf, inboxSentence, isBulkable, nextOpen } from "./items.ts";

/** How long a decided item stays in the list. */
const lingerMs = 10_000;

type Words = Readonly<Record<string, string>>;

function ItemLine(props: {
  readonly item: InboxItem;
  readonly isOpen: boolean;
  readonly words: string | undefined;
  readonly isSelected: boolean;
  readonly onOpen: () => void;
  readonly onSelect: (() => void) | undefined;
}) {
  const { item, isOpen, words, isSelected, onOpen, onSelect } = props;
  const [call] = item.calls;
  const since = timeOf(item.waiting_since ?? item.created_at);
  const age = since === undefined ? "" : spanText(minuteClock.value.getTime() - since.getTime());
  return (
    <li class={`inbox-line${isOpen ? " inbox-open" : ""}`}>
      {onSelect !== undefined && (
        <input type="checkbox" aria-label={`Select ${call?.tool_name ?? "call"}`} checked={isSelected} onChange={onSelect} />
      )}
      <a
        href={hrefOf(`inbox/${item.id}`)}
        aria-current={isOpen ? "true" : undefined}
        onClick={(event) => {
          if (event.metaKey || event.ctrlKey || matchMedia("(max-width: 720px)").matches) return;
          event.preventDefault();
          onOpen();
        }}
      >
        <span class="row spread">
          <strong>
            <bdi>{call?.tool_name ?? "Call"}</bdi>
            {call !== undefined && call.effect !== "" && ` · ${call.effect}`}
          </strong>
          <span class="meta">{item.status === "pending" || item.kind === "review" ? age : ""}</span>
        </span>
        <code class="call-brief">{briefOf(item)}</code>
        <span class="row meta">
          <bdi>{item.agent_type}</bdi> · <bdi>{item.title}</bdi>
        </span>
        {words !== undefined ? (
          <span>{words}</span>
        ) : item.kind === "review" ? (
          <StatusWord status="needs_review" />
        ) : item.status === "pending" ? null : (
          <span class="meta">{standingText(approvalOf(item))}</span>
        )}
      </a>
    </li>
  );
}

/** Everything that waits for the person, oldest first, and what was decided. */
export default function InboxPage({ params }: PageProps) {
  const show = query.value.get("show") === "decided" ? "decided" : "pending";
  const pages = usePages();
  const { data, error, reload, isLoading } = useResource(`inbox:${show}:${pages.cursor}`, (signal) =>
    api("GET /v1/inbox", {
      signal,
      query: { show, order: show === "pending" ? "oldest" : "newest", cursor: pages.cursor, limit: 50 },
    }),
  );
  const [chosen, setChosen] = useState<string>();
  const [words, setWords] = useState<Words>({});
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const [isBulk, setBulk] = useState(false);
  const [announcement, setAnnouncement] = useState("");
  const kept = useRef<readonly InboxItem[]>([]);
  // An item stays while its words are shown, although the server lists it no longer.
  const listed = data?.items ?? [];
  const lingering = kept.current.filter(({ id }) => words[id] !== undefined && !listed.some((item) => item.id === id));
  const items = [...lingering, ...listed];
  kept.current = items;
  const openId = chosen ?? params.approval ?? items[0]?.id;
  const open = items.find(({ id }) => id === openId) ?? items[0];

  useEffect(() => onUserEvent(({ type }) => (type.startsWith("approval.") || type === "run.changed") && reload()), [reload]);
  const settle = (id: string, text: string) => {
    setWords((old) => ({ ...old, [id]: text }));
    setTimeout(() => setWords((old) => Object.fromEntries(Object.entries(old).filter(([key]) => key !== id))), lingerMs);
  };
  const finish = (id: string, text: string) => {
    settle(id, text);
    const done = new Set([...Object.keys(words), id]);
    const left = items.filter((item) => !done.has(item.id)).length;
    setAnnouncement(`${text}. ${left} left.`);
    const next = nextOpen(items, done, id);
    if (next !== undefined) setChosen(next);
    reload();
  };
  const finishAll = (results: readonly DecisionResult[]) => {
    setBulk(false);
    setSelected(new Set());
    for (const { approval_id, error: refused } of results)
      settle(approval_id, refused === null ? "Approved by you" : refused.message);
    setAnnouncement(`${results.filter(({ error: refused }) => refused === null).length} approved.`);
    reload();
  };
  const move = (step: number) => () => {
    const at = items.findIndex(({ id }) => id === open?.id);
    const next = items[Math.min(items.length - 1, Math.max(0, at + step))];
    if (next === undefined) return false;
    setChosen(next.id);
    setAnnouncement(`Call ${items.indexOf(next) + 1} of ${items.length}`);
    return true;
  };
  const toggle = (id: string) => {
    const next = new Set(selected);
    if (!next.delete(id)) next.add(id);
    setSelected(next);
  };
  useKeys({
    j: move(1),
    k: move(-1),
    x: () => (open === undefined || !isBulkable(open) ? false : toggle(open.id)),
    u: () => navigate(hrefOf("inbox")),
  });
  const bulk = items.filter(({ id }) => selected.has(id));
  const waiting = (data?.counts?.approvals ?? 0) + (data?.counts?.reviews ?? 0);
  const sentence = data === undefined ? undefined : inboxSentence(waiting, data.counts?.oldest_at ?? null, minuteClock.value);
  return (
    <>
      <PageHead title="Inbox" sentence={sentence}>
        {bulk.length > 0 && (
          <Button kind="primary" onClick={() => setBulk(true)}>
            Approve {bulk.length} {bulk.length === 1 ? "call" : "calls"}
          </Button>
        )}
        <Button
          expanded={undefined}
          onClick={() => setQuery({ show: show === "pending" ? "decided" : undefined, cursor: undefined }, { push: true })}
        >
          {show === "pending" ? "Show decided" : "Show pending"}
        </Button>
      </PageHead>
      <p class="visually-hidden" role="status">
        {announcement}
      </p>
      {error !== undefined && <ErrorBox error={error} onRetry={reload} />}
      {data === undefined && error === undefined && <Loading what="calls" />}
      {data !== undefined && items.length === 0 && (
        <Empty>
          <p>{show === "pending" ? "Nothing waits for you. New calls appear here by themselves." : "No call was decided yet."}</p>
        </Empty>
      )}
      {open !== undefined && (
        <div
          class={`inbox${params.approval === undefined ? "" : " inbox-item"}${isLoading && data === undefined ? " is-loading" : ""}`}
        >
          <ul class="inbox-list" aria-label="Calls">
            {items.map((item) => (
              <ItemLine
                key={item.id}
                item={item}
                isOpen={item.id === open.id}
                words={words[item.id]}
                isSelected={selected.has(item.id)}
                onOpen={() => setChosen(item.id)}
                onSelect={isBulkable(item) ? () => toggle(item.id) : undefined}
              />
            ))}
          </ul>
          <Detail
            item={open}
            tool={data?.tools.find(({ name }) => name === open.calls[0]?.tool_name)}
            words={words[open.id]}
            onSettled={(text) => finish(open.id, text)}
            onDecided={(decided, { approved }) =>
              finish(open.id, decided.kind === "late" ? decided.sentence : approved ? "Approved by you" : "Rejected by you")
            }
          />
        </div>
      )}
      <Pager pages={pages} nextCursor={data?.next_cursor} />
      {isBulk && <BulkDialog items={bulk} onDone={finishAll} onClose={() => setBulk(false)} />}
    </>
  );
}
