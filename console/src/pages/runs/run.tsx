import { useEffect, useState } from "preact/hooks";
import { followStream } from "../../api/event-stream.ts";
import { api, request } from "../../api/request.ts";
import { useResource } from "../../api/resource.ts";
import type { RunInfo, RunStep } from "../../api/types.ts";
import { countText, moneyText } from "../../format/money.ts";
import { spanText } from "../../format/time.ts";
import { useKeys } from "../../keyboard/keys.ts";
import { whileVisible } from "../../live/while-visible.ts";
import { Markdown } from "../../markdown/markdown.tsx";
import { hrefOf, navigate, query, setQuery } from "../../router/router.ts";
import { download } from "../../ui/blobs.ts";
import { Button } from "../../ui/button.tsx";
import { Copy, copyText } from "../../ui/copy.tsx";
import { Check } from "../../ui/field.tsx";
import { Menu } from "../../ui/menu.tsx";
import { PageHead, type PageProps } from "../../ui/page.tsx";
import { refusalOf } from "../../ui/refusal.ts";
import { ErrorBox, Loading } from "../../ui/states.tsx";
import { StatusWord } from "../../ui/status-word.tsx";
import { toast } from "../../ui/toasts.tsx";
import { Bars, stepText } from "./bars.tsx";
import { EventsTab } from "./events-tab.tsx";
import { durationText } from "./runs.tsx";
import { StepDetail } from "./step-detail.tsx";
import { spentBy } from "./timeline.ts";
import { wayOf } from "./way.ts";
import { WayGraph } from "./way-graph.tsx";

const tabs = [
  ["timeline", "Timeline"],
  ["events", "Events"],
  ["messages", "Messages"],
] as const;

const isEnded = ({ status }: RunInfo) => status === "completed" || status === "failed" || status === "cancelled";

/** The time of a run by its uses, in one sentence. */
function spentText(run: RunInfo, steps: readonly RunStep[]): string {
  const spent = spentBy(steps, new Date());
  const words = { people: "people", model: "model", tools: "tools", queue: "queue", pauses: "pauses" } as const;
  const parts = (Object.keys(words) as (keyof typeof words)[])
    .filter((kind) => spent[kind] >= 1)
    .map((kind) => `${words[kind]} ${spanText(spent[kind])}`);
  const models = steps.filter(({ kind }) => kind === "model").length;
  const facts = [
    countText(models, "model call"),
    countText(run.tool_calls, "tool"),
    countText(run.usage?.total_tokens ?? 0, "token"),
    moneyText(run.cost_usd, { priced: run.priced }),
  ];
  return `${durationText(run, new Date())}${parts.length > 0 ? `: ${parts.join(" · ")}` : ""}. ${facts.join(" · ")}.`;
}

/** A command that reads the run or goes on with its events, with the key as a variable. */
function curlOf(run: RunInfo, isStream: boolean): string {
  const path = isStream ? `/v1/runs/${run.id}/events` : `/v1/runs/${run.id}`;
  const resume = isStream && run.last_event_id !== "" ? ` -H "Last-Event-ID: ${run.last_event_id}"` : "";
  return `curl ${isStream ? "-N " : ""}${location.origin}${path} -H "Authorization: Bearer $TURNWRIGHT_KEY"${resume}`;
}

function Messages({ run }: { readonly run: RunInfo }) {
  return (
    <div class="stack">
      <section class="card stack" aria-label="Message">
        <h2>Message</h2>
        <p class="entry-text" dir="auto">
          {run.message}
        </p>
      </section>
      <section class="card stack" aria-label="Answer">
        <h2>Answer</h2>
        {run.response === "" ? <p class="meta">None.</p> : <Markdown text={run.response} />}
      </section>
      <a href={hrefOf(`chat/${run.conversation_id}`)}>Open the conversation</a>
    </div>
  );
}

function Notes({ run }: { readonly run: RunInfo }) {
  return (
    <>
      {run.status === "failed" && (
        <p class="notice notice-danger">
          {run.error_reason}: <bdi>{run.error}</bdi>
        </p>
      )}
      {run.status === "queued" && (
        <p class="notice">
          Waiting for a worker. <bdi>{run.last_error}</bdi>
        </p>
      )}
      {run.unsettled_calls.length > 0 && (
        <p class="notice">
          Settle {countText(run.unsettled_calls.length, "call")}: nobody knows whether they took effect.{" "}
          <a href={hrefOf(`inbox/${run.id}`)}>Open in Inbox</a>
        </p>
      )}
      {run.receipts.length > 0 && (
        <ul>
          {run.receipts.map(({ call_id, tool_name, outcome }) => (
            <li key={call_id}>
              <bdi>{tool_name}</bdi>: {outcome.replaceAll("_", " ")}
            </li>
          ))}
        </ul>
      )}
    </>
  );
}

/** Reads a run again whenever it moves on, until it has ended. */
function useMoves(run: RunInfo | undefined, reload: () => void): void {
  const id = run === undefined || isEnded(run) ? undefined : run.id;
  const position = run?.last_event_id ?? "";
  useEffect(() => {
    if (id === undefined) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stop = whileVisible((signal) =>
      followStream<{ type: string }>(`/v1/runs/${id}/events`, {
        query: { content_limit: 0 },
        lastEventId: position,
        signal,
        onEvent({ type }) {
          if (type !== "content" && type !== "reasoning") timer ??= setTimeout(reload, 500);
        },
      }).catch(() => {}),
    );
    return () => {
      stop();
      clearTimeout(timer);
    };
  }, [id, position, reload]);
}

/** One run as a picture: the way it took, where its time went, every event. */
export default function RunPage({ params }: PageProps) {
  const run_id = params.run ?? "";
  const { data, error, reload } = useResource(`run:${run_id}`, (signal) =>
    api("GET /v1/runs/{run_id}", { signal, path: { run_id }, query: { include: ["steps"] } }),
  );
  const run = data?.run ?? undefined;
  useMoves(run, reload);
  const [isFailedOnly, setFailedOnly] = useState(false);
  const tab = query.value.get("tab") ?? "timeline";
  const chosen = query.value.get("step") ?? "";
  const steps = data?.steps ?? [];
  const failed = steps.filter(
    ({ status, error: words }) => words !== "" || ["failed", "interrupted", "unknown"].includes(status),
  );
  const shown = isFailedOnly ? failed : steps;
  const step = steps.find(({ id }) => id === chosen);
  const choose = (move: number) => () => {
    const at = shown.findIndex(({ id }) => id === chosen);
    const next = shown[Math.min(shown.length - 1, Math.max(0, at + move))];
    if (next === undefined) return false;
    setQuery({ step: next.id });
    return true;
  };
  useKeys({
    ArrowRight: choose(1),
    ArrowLeft: choose(-1),
    f: () => setFailedOnly(!isFailedOnly),
    "1": () => setQuery({ tab: undefined }),
    "2": () => setQuery({ tab: "events" }),
    "3": () => setQuery({ tab: "messages" }),
    y: () => void copyText(run_id).then(() => toast("The run's id is in the clipboard.")),
  });
  const act = async (work: () => Promise<unknown>) => {
    try {
      await work();
      reload();
    } catch (failure) {
      toast(refusalOf(failure).sentence ?? "It could not be done.", { isError: true });
    }
  };
  const retry = () =>
    act(async () => {
      const again = await request<{ run: RunInfo }>(`/v1/runs/${run_id}/retry`, {
        method: "POST",
        body: {},
        once: `retry:${run_id}`,
      });
      navigate(hrefOf(`runs/${again.run.id}`));
    });
  return (
    <>
      <PageHead
        title="Run"
        heading={
          <>
            Run <code>{run_id.slice(0, 8)}…</code> <Copy text={run_id} label="Copy id" what="The run's id is in the clipboard." />
          </>
        }
        sentence={run === undefined ? undefined : spentText(run, steps)}
      >
        {run !== undefined && (
          <>
            <StatusWord status={run.status} />
            <span class="meta">
              <bdi>{run.agent_type}</bdi> · <bdi>{run.model}</bdi>
              {run.key_name !== "" && (
                <>
                  {" "}
                  · key <bdi>{run.key_name}</bdi>
                </>
              )}
            </span>
            {isEnded(run) ? (
              run.status !== "completed" && <Button onClick={() => void retry()}>Retry</Button>
            ) : (
              <Button kind="danger" onClick={() => void act(() => api("POST /v1/runs/{run_id}/cancel", { path: { run_id } }))}>
                Cancel
              </Button>
            )}
            <Copy text={curlOf(run, false)} label="Copy as curl" what="The command is in the clipboard." />
            <Menu
              label="More"
              items={[
                { label: "Copy the command that goes on with its events", run: () => void copyText(curlOf(run, true)) },
                { label: "Download as JSON", run: () => download(`run-${run_id}.json`, JSON.stringify(data, undefined, 2)) },
                { label: "Open the conversation", href: hrefOf(`chat/${run.conversation_id}`) },
              ]}
            >
              ⋯
            </Menu>
          </>
        )}
      </PageHead>
      {error !== undefined && <ErrorBox error={error} onRetry={reload} />}
      {data === undefined && error === undefined && <Loading what="this run" />}
      {run !== undefined && (
        <div class="stack">
          <Notes run={run} />
          <WayGraph way={wayOf(steps, run.status === "completed")} />
          <nav class="row" aria-label="Views of the run">
            {tabs.map(([name, label]) => (
              <Button
                key={name}
                small
                kind={tab === name ? "primary" : "plain"}
                onClick={() => setQuery({ tab: name === "timeline" ? undefined : name })}
              >
                {label}
              </Button>
            ))}
            {tab === "timeline" && failed.length > 0 && (
              <Check label="only failed" checked={isFailedOnly} onChange={setFailedOnly} />
            )}
          </nav>
          {tab === "events" && <EventsTab runId={run_id} />}
          {tab === "messages" && <Messages run={run} />}
          {tab === "timeline" && (
            <div class="run-columns">
              {shown.length === 0 ? (
                <p class="meta">No steps yet.</p>
              ) : (
                <Bars steps={shown} chosen={chosen} onChoose={(id) => setQuery({ step: id })} />
              )}
              {step === undefined ? (
                <p class="meta">Choose a step to see its texts: {shown[0] === undefined ? "" : stepText(shown[0])}…</p>
              ) : (
                <StepDetail key={step.id} runId={run_id} step={step} />
              )}
            </div>
          )}
        </div>
      )}
    </>
  );
}
