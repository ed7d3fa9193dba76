import { useState } from "preact/hooks";
import type { Approval } from "../../api/types.ts";
import type { Decided } from "../../approvals/decide.ts";
import { countText } from "../../format/money.ts";
import { roughSpan } from "../../format/time.ts";
import { Markdown } from "../../markdown/markdown.tsx";
import { hrefOf } from "../../router/router.ts";
import { Button } from "../../ui/button.tsx";
import { Copy } from "../../ui/copy.tsx";
import { StatusWord } from "../../ui/status-word.tsx";
import { Time } from "../../ui/time.tsx";
import { CallLine } from "./call-line.tsx";
import { isEnded, type LiveAnswer, type Part, textOf } from "./live-run.ts";
import type { Entry } from "./stored-thread.ts";
import type { LiveRun } from "./use-live-run.ts";

/** A message of the person. `onEdit` sends another text in its place, in a copy of the conversation. */
export function UserEntry({
  entry,
  onEdit,
}: {
  readonly entry: Extract<Entry, { kind: "user" }>;
  readonly onEdit: ((text: string) => void) | undefined;
}) {
  const [text, setText] = useState<string>();
  return (
    <article class="entry entry-user" aria-label="You">
      <header class="row meta">
        You · <Time at={entry.at} />
        {onEdit !== undefined && text === undefined && (
          <Button small kind="quiet" onClick={() => setText(entry.text)}>
            Edit
          </Button>
        )}
        <Copy text={entry.text} />
      </header>
      {text === undefined ? (
        <p class="entry-text" dir="auto">
          {entry.text}
        </p>
      ) : (
        <form
          class="stack"
          onSubmit={(event) => {
            event.preventDefault();
            onEdit?.(text);
            setText(undefined);
          }}
        >
          <textarea
            class="input"
            aria-label="Your message, edited"
            rows={3}
            value={text}
            onInput={(event) => setText(event.currentTarget.value)}
          />
          <p class="meta">The answer goes to a copy of this conversation up to here.</p>
          <div class="row">
            <Button kind="primary" type="submit" small>
              Send
            </Button>
            <Button small onClick={() => setText(undefined)}>
              Keep it as it was
            </Button>
          </div>
        </form>
      )}
    </article>
  );
}

interface PartsProps {
  readonly parts: readonly Part[];
  readonly runId: string;
  readonly isGrowing: boolean;
  readonly approvals: readonly Approval[];
  readonly onDecided: (decided: Decided, approval: Approval) => void;
}

function Parts({ parts, runId, isGrowing, approvals, onDecided }: PartsProps) {
  return (
    <>
      {parts.map((part, index) =>
        part.kind === "text" ? (
          <Markdown key={`text-${index}`} text={part.text} isGrowing={isGrowing && index === parts.length - 1} />
        ) : (
          <CallLine
            key={part.id}
            call={part}
            runId={runId}
            approval={approvals.find(({ call_id }) => call_id === part.id)}
            onDecided={onDecided}
          />
        ),
      )}
    </>
  );
}

/** A stored answer. */
export function AnswerEntry({ entry }: { readonly entry: Extract<Entry, { kind: "answer" }> }) {
  return (
    <article class="entry" aria-label="Answer">
      <header class="row meta">
        <bdi>{entry.model === "" ? "Answer" : entry.model}</bdi>
        {entry.tokens > 0 && <span>· {countText(entry.tokens, "token")}</span>}
        {entry.runId !== "" && <a href={hrefOf(`runs/${entry.runId}`)}>run</a>}
        <Copy text={() => textOf(entry.parts)} />
      </header>
      <Parts parts={entry.parts} runId={entry.runId} isGrowing={false} approvals={[]} onDecided={() => {}} />
    </article>
  );
}

function Failure({ answer, onRetry }: { readonly answer: LiveAnswer; readonly onRetry: () => void }) {
  if (answer.status === "cancelled") return <p class="meta">Stopped.</p>;
  if (answer.status !== "failed") return null;
  return (
    <div class="notice notice-danger" role="alert">
      <p>
        The answer stopped: <bdi>{answer.error}</bdi> {answer.errorReason !== "" && `(${answer.errorReason})`}
      </p>
      <Button small onClick={onRetry}>
        Retry
      </Button>
    </div>
  );
}

/** The answer under way, or the one that has just ended. */
export function LiveEntry(props: {
  readonly live: LiveRun;
  readonly approvals: readonly Approval[];
  readonly onDecided: (decided: Decided, approval: Approval) => void;
  readonly onRetry: () => void;
}) {
  const { live, approvals, onDecided, onRetry } = props;
  const { answer, stream, error } = live;
  const who = [answer.agent, answer.model].filter((name) => name !== "").join(" · ");
  const word = answer.retriesInMs > 0 ? `Retries in ${roughSpan(answer.retriesInMs)}` : undefined;
  return (
    <article class="entry" aria-label="Answer" aria-busy={!isEnded(answer)}>
      <header class="row meta">
        <bdi>{who === "" ? "Answer" : who}</bdi>
        <StatusWord status={answer.status} word={word} />
        {answer.tokens > 0 && <span>{countText(answer.tokens, "token")}</span>}
        <a href={hrefOf(`runs/${answer.runId}`)}>run</a>
        {isEnded(answer) && <Copy text={() => textOf(answer.parts)} />}
      </header>
      <Parts
        parts={answer.parts}
        runId={answer.runId}
        isGrowing={answer.status === "running"}
        approvals={approvals}
        onDecided={onDecided}
      />
      {!isEnded(answer) && stream === "reconnecting" && <p class="meta">Reconnecting…</p>}
      {!isEnded(answer) && error !== undefined && (
        <p class="notice notice-danger" role="alert">
          The answer cannot be followed: {error.message}
        </p>
      )}
      <Failure answer={answer} onRetry={onRetry} />
    </article>
  );
}
