import { useState } from "preact/hooks";
import type { Approval } from "../../api/types.ts";
import { ApprovalBox } from "../../approvals/approval-box.tsx";
import type { Decided } from "../../approvals/decide.ts";
import { spanText } from "../../format/time.ts";
import { visible } from "../../json/visible.ts";
import { hrefOf } from "../../router/router.ts";
import { JsonView } from "../../ui/json-view.tsx";
import { StatusWord } from "../../ui/status-word.tsx";
import type { CallPart } from "./live-run.ts";

const states = { running: "running", waiting: "waiting", needs_review: "needs_review", done: "completed" } as const;

/** A call of a tool: one line; opened, its arguments and its result, or the buttons of its approval. */
export function CallLine(props: {
  readonly call: CallPart;
  readonly runId: string;
  /** The approval that it waits for. */
  readonly approval: Approval | undefined;
  readonly onDecided: (decided: Decided, approval: Approval) => void;
}) {
  const { call, runId, approval, onDecided } = props;
  const isWaiting = call.state === "waiting" && approval !== undefined;
  const [isOpened, setOpened] = useState<boolean>();
  const isOpen = isOpened ?? isWaiting;
  const brief = visible(call.arguments.slice(0, 160).replaceAll(/\s+/g, " "));
  return (
    <div class={`call${isWaiting ? " call-waiting" : ""}`}>
      <button type="button" class="call-head" aria-expanded={isOpen} onClick={() => setOpened(!isOpen)}>
        <span aria-hidden="true">{isOpen ? "▾" : "▸"}</span>
        <bdi class="call-name">{call.name}</bdi>
        {!isOpen && <code class="call-brief">{brief}</code>}
        <StatusWord status={states[call.state]} word={call.state === "done" ? "Done" : undefined} />
        {call.ms !== undefined && <span class="meta">{spanText(call.ms)}</span>}
      </button>
      {isOpen && isWaiting && <ApprovalBox approval={approval} hasKeys onDecided={(decided) => onDecided(decided, approval)} />}
      {isOpen && !isWaiting && (
        <div class="stack call-body">
          <JsonView text={call.arguments} label="Arguments" file="arguments.json" />
          {call.result !== undefined && (
            <>
              <h4>Result</h4>
              <JsonView text={call.result} label="Result" file="result.json" />
            </>
          )}
          {call.state === "needs_review" && (
            <p>
              Nobody knows whether this call took effect. <a href={hrefOf("inbox")}>Settle it in the inbox</a>
            </p>
          )}
          {runId !== "" && <a href={hrefOf(`runs/${runId}`)}>Open in run</a>}
        </div>
      )}
    </div>
  );
}
