import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { Button } from "../../ui/button.tsx";
import { ErrorBox, Loading } from "../../ui/states.tsx";
import { toast } from "../../ui/toasts.tsx";
import { AnswerEntry, LiveEntry, UserEntry } from "./entry-views.tsx";
import type { Thread } from "./use-thread.ts";

/** Distance from the end, in pixels, within which the thread follows new text. */
const nearPx = 80;

/** The messages of a conversation and the answer under way. */
export function ThreadView({ thread, isNew }: { readonly thread: Thread; readonly isNew: boolean }) {
  const { stored, entries, live, approvals, outgoing, showOlder, refreshApprovals } = thread;
  const box = useRef<HTMLDivElement>(null);
  const isNear = useRef(true);
  const before = useRef<{ height: number; first: number | undefined }>({ height: 0, first: undefined });
  const [isAway, setAway] = useState(false);
  const toEnd = () => {
    const element = box.current;
    if (element !== null) element.scrollTop = element.scrollHeight;
  };
  const first = entries[0]?.kind === "user" ? entries[0].sequence : undefined;
  useLayoutEffect(() => {
    const element = box.current;
    if (element === null) return;
    const isPrepended = before.current.first !== undefined && first !== undefined && first < before.current.first;
    // Older messages above must not move what is read.
    if (isPrepended) element.scrollTop += element.scrollHeight - before.current.height;
    else if (isNear.current) toEnd();
    else if (element.scrollHeight > before.current.height) setAway(true);
    before.current = { height: element.scrollHeight, first };
  });
  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    // The text grows also between two drawings of this component: Markdown is drawn by itself.
    const grown = new ResizeObserver(() => {
      if (isNear.current) toEnd();
    });
    for (const child of element.children) grown.observe(child);
    return () => grown.disconnect();
  }, []);
  const onScroll = () => {
    const element = box.current;
    if (element === null) return;
    isNear.current = element.scrollHeight - element.scrollTop - element.clientHeight < nearPx;
    if (isNear.current) setAway(false);
  };
  return (
    <div class="thread" ref={box} onScroll={onScroll} role="log" aria-live="off" aria-label="Messages" tabIndex={0}>
      <div class="thread-column">
        {showOlder !== undefined && <Button onClick={showOlder}>Show older</Button>}
        {stored.error !== undefined && (
          <ErrorBox
            error={stored.error}
            onRetry={stored.reload}
            words={stored.error.status === 404 ? "This conversation does not exist or is not yours." : undefined}
          />
        )}
        {!isNew && stored.data === undefined && stored.error === undefined && <Loading what="this conversation" />}
        {isNew && outgoing === "" && <p class="meta">No messages yet. Ask something below.</p>}
        {entries.map((entry) =>
          entry.kind === "user" ? (
            <UserEntry
              key={`user-${entry.sequence}`}
              entry={entry}
              onEdit={thread.isBusy ? undefined : (text) => thread.resend(entry.sequence, text)}
            />
          ) : (
            <AnswerEntry key={`answer-${entry.runId}-${entry.at ?? ""}`} entry={entry} />
          ),
        )}
        {outgoing !== "" && (
          <UserEntry entry={{ kind: "user", sequence: 0, text: outgoing, at: null, runId: "" }} onEdit={undefined} />
        )}
        {live !== undefined && (
          <LiveEntry
            live={live}
            approvals={approvals}
            onRetry={thread.retry}
            onDecided={(decided) => {
              if (decided.kind === "late") toast(decided.sentence, { isError: true });
              refreshApprovals();
            }}
          />
        )}
      </div>
      {isAway && (
        <div class="thread-more">
          <Button
            small
            onClick={() => {
              toEnd();
              setAway(false);
            }}
          >
            ↓ New text
          </Button>
        </div>
      )}
    </div>
  );
}
