import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "../../api/request.ts";
import { useResource } from "../../api/resource.ts";
import type { RunInfo } from "../../api/types.ts";
import { countText, moneyText, numberText } from "../../format/money.ts";
import { spanText, timeOf } from "../../format/time.ts";
import { useKeys } from "../../keyboard/keys.ts";
import { counts, onUserEvent } from "../../live/user-events.ts";
import { hrefOf, query, setQuery } from "../../router/router.ts";
import { Button } from "../../ui/button.tsx";
import { SelectField, TextField } from "../../ui/field.tsx";
import { PageHead } from "../../ui/page.tsx";
import { Pager, usePages } from "../../ui/pager.tsx";
import { refusalOf } from "../../ui/refusal.ts";
import { Empty, ErrorBox, Loading } from "../../ui/states.tsx";
import { StatusWord } from "../../ui/status-word.tsx";
import { type Column, Table } from "../../ui/table.tsx";
import { minuteClock, Time } from "../../ui/time.tsx";
import { toast } from "../../ui/toasts.tsx";
import { filtersOf, isFiltered, openTypedRun, requestOf, spanChoices, statusChoices } from "./run-filters.ts";

const pageSize = 50;
const endedStates: ReadonlySet<string> = new Set(["completed", "failed", "cancelled"]);

/** How long a run took, or takes so far. */
export function durationText({ started_at, created_at, ended_at, status }: RunInfo, now: Date): string {
  const from = timeOf(started_at ?? created_at);
  if (from === undefined) return "–";
  const to = timeOf(ended_at) ?? (endedStates.has(status) ? from : now);
  return `${spanText(to.getTime() - from.getTime())}${endedStates.has(status) ? "" : "…"}`;
}

/** The words of a run in the list: its first message, or the reason why it failed. */
function wordsOf({ message, title, status, error_reason, error }: RunInfo): string {
  if (status === "failed") return `${error_reason}: ${error}`.slice(0, 200);
  return (message === "" ? title : message).slice(0, 200);
}

const columns: readonly Column<RunInfo>[] = [
  {
    name: "status",
    label: "Status",
    cell: ({ status, wake_at }) => (
      <StatusWord status={status} word={wake_at !== null && status === "queued" ? "Retries soon" : undefined} />
    ),
  },
  { name: "started", label: "Started", cell: ({ created_at }) => <Time at={created_at} /> },
  { name: "duration", label: "Duration", isNumber: true, cell: (run) => durationText(run, minuteClock.value) },
  { name: "agent", label: "Agent", cell: ({ agent_type }) => <bdi>{agent_type}</bdi> },
  { name: "model", label: "Model", cell: ({ model }) => <bdi>{model}</bdi> },
  { name: "tools", label: "Tools", isNumber: true, cell: ({ tool_calls }) => tool_calls },
  { name: "tokens", label: "Tokens", isNumber: true, cell: ({ usage }) => numberText(usage?.total_tokens ?? 0) },
  { name: "cost", label: "Cost", isNumber: true, cell: ({ cost_usd, priced }) => moneyText(cost_usd, { priced }) },
  { name: "words", label: "First words", cell: (run) => <bdi class="run-words">{wordsOf(run)}</bdi> },
];

function Filters() {
  const filters = filtersOf(query.value);
  const search = useRef<HTMLDivElement>(null);
  const set = (values: Readonly<Record<string, string>>) => setQuery({ ...values, cursor: undefined });
  useKeys({ "/": () => search.current?.querySelector("input")?.focus() });
  return (
    <form
      class="filters"
      role="search"
      onSubmit={(event) => {
        event.preventDefault();
        openTypedRun(filters.q, hrefOf);
      }}
    >
      <SelectField label="Status" value={filters.status} onChange={(status) => set({ status })} options={statusChoices} />
      <SelectField label="Time" value={filters.span} onChange={(span) => set({ span })} options={spanChoices} />
      <TextField label="Agent" value={filters.agent} onInput={(agent) => set({ agent })} maxLength={100} />
      <TextField label="Model" value={filters.model} onInput={(model) => set({ model })} maxLength={200} />
      <div ref={search}>
        <TextField label="Text or run id" type="search" value={filters.q} onInput={(q) => set({ q })} maxLength={200} />
      </div>
    </form>
  );
}

/** The runs of the account, newest first, by filters. New runs wait until the person wants them. */
export default function RunsPage() {
  const pages = usePages();
  const filters = filtersOf(query.value);
  const request = requestOf(filters, minuteClock.value);
  const key = `runs:${JSON.stringify(request)}:${pages.cursor}`;
  const { data, error, reload, isLoading } = useResource(key, (signal) =>
    api("GET /v1/runs", { signal, query: { ...request, cursor: pages.cursor, limit: pageSize } }),
  );
  const [fresh, setFresh] = useState<ReadonlySet<string>>(new Set());
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const rows = data?.runs ?? [];
  const known = useRef<ReadonlySet<string>>(new Set());
  known.current = new Set(rows.map(({ id }) => id));
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stop = onUserEvent((event) => {
      if (event.type !== "run.changed") return;
      const id = event.run_id ?? "";
      if (id !== "" && !known.current.has(id)) return setFresh((old) => new Set([...old, id]));
      timer ??= setTimeout(() => {
        timer = undefined;
        reload();
      }, 1_000);
    });
    return () => {
      stop();
      clearTimeout(timer);
    };
  }, [reload]);
  const show = () => {
    setFresh(new Set());
    reload();
  };
  const cancel = async () => {
    const ids = rows.filter(({ id, status }) => selected.has(id) && !endedStates.has(status)).map(({ id }) => id);
    try {
      for (const run_id of ids) await api("POST /v1/runs/{run_id}/cancel", { path: { run_id } });
      toast(`${countText(ids.length, "run")} cancelled.`);
    } catch (failure) {
      toast(refusalOf(failure).sentence ?? "The runs could not be cancelled.", { isError: true });
    }
    setSelected(new Set());
    reload();
  };
  const told = counts.value;
  const sentence =
    told === undefined
      ? undefined
      : `${countText(told.running, "run is", "runs are")} running, ${told.needs_review} ${told.needs_review === 1 ? "needs" : "need"} review.`;
  return (
    <>
      <PageHead title="Runs" sentence={sentence}>
        {selected.size > 0 && (
          <Button kind="danger" onClick={() => void cancel()}>
            Cancel {countText(selected.size, "run")}
          </Button>
        )}
        {isFiltered(filters) && <Button href={hrefOf("runs")}>Clear filters</Button>}
      </PageHead>
      <Filters />
      {fresh.size > 0 && (
        <p class="row" role="status">
          {countText(fresh.size, "newer run")}
          <Button small onClick={show}>
            Show
          </Button>
        </p>
      )}
      {error !== undefined && <ErrorBox error={error} onRetry={reload} />}
      {data === undefined && error === undefined && <Loading what="runs" />}
      {data !== undefined && rows.length === 0 && (
        <Empty>
          {isFiltered(filters) ? (
            <>
              <p>No run matches these filters.</p>
              <Button href={hrefOf("runs")}>Clear filters</Button>
            </>
          ) : (
            <p>
              No runs yet. Send a message in <a href={hrefOf("chat")}>Chat</a> or <code>POST /v1/runs</code>.
            </p>
          )}
        </Empty>
      )}
      {rows.length > 0 && (
        <Table
          caption="Runs"
          columns={columns}
          rows={rows}
          rowKey={({ id }) => id}
          rowHref={({ id }) => hrefOf(`runs/${id}`)}
          selected={selected}
          onSelect={setSelected}
          isLoading={isLoading}
        />
      )}
      <Pager pages={pages} nextCursor={data?.next_cursor} note={`${pageSize} per page`} />
    </>
  );
}
