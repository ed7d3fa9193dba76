import { useEffect, useRef } from "preact/hooks";
import { api } from "../../api/request.ts";
import { useResource } from "../../api/resource.ts";
import type { InboxItem, InboxTool } from "../../api/types.ts";
import { ApprovalBox } from "../../approvals/approval-box.tsx";
import type { Decided, Decision } from "../../approvals/decide.ts";
import { hrefOf } from "../../router/router.ts";
import { ErrorBox, Loading } from "../../ui/states.tsx";
import { approvalOf, isCut } from "./items.ts";
import { ReviewBox } from "./review-box.tsx";

/** The arguments as they are, when the list has only their beginning. */
function WholeApproval(props: Omit<DetailProps, "words">) {
  const { item, tool, onDecided } = props;
  const { data, error, reload } = useResource(`approval:${item.id}`, (signal) =>
    api("GET /v1/approvals/{approval_id}", { signal, path: { approval_id: item.id } }),
  );
  if (error !== undefined) return <ErrorBox error={error} onRetry={reload} />;
  if (data === undefined || data.approval === null) return <Loading what="calls" />;
  return (
    <ApprovalBox
      approval={data.approval}
      effect={tool?.effect}
      schema={tool?.parameters ?? undefined}
      hasKeys
      onDecided={onDecided}
    />
  );
}

/** Properties of an open item. */
export interface DetailProps {
  readonly item: InboxItem;
  readonly tool: InboxTool | undefined;
  /** The outcome, once the person has decided. */
  readonly words: string | undefined;
  readonly onDecided: (decided: Decided, decision: Decision) => void;
  readonly onSettled: (words: string) => void;
}

/** One item of the inbox: who asks, what for, what came before, and the answers to it. */
export function Detail(props: DetailProps) {
  const { item, tool, words, onDecided, onSettled } = props;
  const heading = useRef<HTMLHeadingElement>(null);
  const [call] = item.calls;
  const isFirst = useRef(true);
  useEffect(() => {
    // The first item is open when the page comes; the focus stays where it is.
    if (isFirst.current) isFirst.current = false;
    else heading.current?.focus();
  }, [item.id]);
  const facts = [call?.effect ?? "", call?.tool_version === "" || call === undefined ? "" : `version ${call.tool_version}`];
  return (
    <section class="card stack" aria-labelledby="inbox-item">
      <h2 id="inbox-item" tabIndex={-1} ref={heading}>
        <bdi>{call?.tool_name ?? "Call"}</bdi> <span class="meta">{facts.filter((fact) => fact !== "").join(" · ")}</span>
      </h2>
      <p class="meta">
        asked by <bdi>{item.agent_type}</bdi>
        {item.requested_by_name !== "" && (
          <>
            {" "}
            with the key <bdi>{item.requested_by_name}</bdi>
          </>
        )}{" "}
        for <bdi>{item.title === "" ? "a deleted conversation" : `"${item.title}"`}</bdi>{" "}
        <a href={hrefOf(`chat/${item.conversation_id}`)}>chat</a> <a href={hrefOf(`runs/${item.run_id}`)}>run</a>
      </p>
      {item.before.length > 0 && (
        <details>
          <summary>Before this call</summary>
          {item.before.map(({ role, name, text, bytes }, index) => (
            <p key={index} dir="auto">
              <strong>{role === "tool" ? name : role}</strong> {text}
              {bytes > 200 && "…"}
            </p>
          ))}
        </details>
      )}
      {words !== undefined ? (
        <p role="status">{words}</p>
      ) : item.kind === "review" ? (
        <ReviewBox item={item} onDone={onSettled} />
      ) : isCut(item) ? (
        <WholeApproval item={item} tool={tool} onDecided={onDecided} onSettled={onSettled} />
      ) : (
        <ApprovalBox
          key={item.id}
          approval={approvalOf(item)}
          effect={tool?.effect}
          schema={tool?.parameters ?? undefined}
          hasKeys
          onDecided={onDecided}
        />
      )}
    </section>
  );
}
