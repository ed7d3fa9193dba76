import type { RunStep } from "../../api/types.ts";
import { costText, numberText } from "../../format/money.ts";
import { dateTime, spanText, timeOf } from "../../format/time.ts";
import { hrefOf } from "../../router/router.ts";
import { JsonView } from "../../ui/json-view.tsx";
import { StatusWord } from "../../ui/status-word.tsx";
import { useRunEvents } from "./run-events.ts";

function Texts({ runId, step }: { readonly runId: string; readonly step: RunStep }) {
  const { events, isWhole } = useRunEvents(runId, step.first_event_id, step.last_event_id);
  const call = events.find(({ type, tool_call }) => type === "tool_call" && tool_call?.id === step.call_id);
  const result = events.find(({ type, tool_call }) => type === "tool_result" && tool_call?.id === step.call_id);
  const text = events
    .filter(({ type }) => type === "content")
    .map(({ delta }) => delta)
    .join("");
  return (
    <>
      {call !== undefined && (
        <JsonView text={call.tool_call?.function?.arguments ?? ""} label="Arguments as run" file="arguments.json" />
      )}
      {result !== undefined && (
        <>
          <h3>Result</h3>
          <JsonView text={result.result} label="Result" file="result.json" truncatedBytes={result.truncated_bytes} />
        </>
      )}
      {step.kind === "model" && text !== "" && <JsonView text={text} label="Text" file="text.txt" />}
      {!isWhole && events.length === 0 && <p class="meta">Reading its events…</p>}
    </>
  );
}

/** One step of a run: its times, its cost, its texts. */
export function StepDetail({ runId, step }: { readonly runId: string; readonly step: RunStep }) {
  const [from, to] = [timeOf(step.started_at), timeOf(step.ended_at)];
  const facts: readonly (readonly [string, string])[] = [
    ["Began", from === undefined ? "not yet" : dateTime(from)],
    ["Took", from === undefined || to === undefined ? "–" : spanText(to.getTime() - from.getTime())],
    ["Attempt", step.attempt > 1 ? String(step.attempt) : ""],
    ["Model", step.model],
    ["Tokens", step.prompt_tokens > 0 ? `${numberText(step.prompt_tokens)} in, ${numberText(step.completion_tokens)} out` : ""],
    ["Cost", step.cost_usd === null ? "" : costText(step.cost_usd)],
    ["Worker", step.worker_id],
    ["Error", step.error === "" ? "" : `${step.error_reason} ${step.error}`],
  ];
  const hasTexts = (step.kind === "tool" || step.kind === "model") && step.first_event_id !== "";
  return (
    <section class="card stack" aria-labelledby="step-detail">
      <h2 id="step-detail">
        {step.kind} <bdi>{step.name}</bdi> <StatusWord status={step.status} />
      </h2>
      <dl class="facts">
        {facts
          .filter(([, text]) => text !== "")
          .map(([name, text]) => [
            <dt key={`${name}-name`}>{name}</dt>,
            <dd key={name}>
              <bdi>{text}</bdi>
            </dd>,
          ])}
      </dl>
      {step.approval_id !== "" && <a href={hrefOf(`inbox/${step.approval_id}`)}>Open the approval</a>}
      {hasTexts && <Texts key={step.id} runId={runId} step={step} />}
    </section>
  );
}
