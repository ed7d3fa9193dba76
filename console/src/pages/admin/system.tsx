import { useEffect } from "preact/hooks";
import { api } from "../../api/request.ts";
import { useResource } from "../../api/resource.ts";
import type { SystemPart, SystemReplica } from "../../api/types.ts";
import { bytesText, countText } from "../../format/money.ts";
import { roughSpan, spanText } from "../../format/time.ts";
import { Copy } from "../../ui/copy.tsx";
import { PageHead } from "../../ui/page.tsx";
import { ErrorBox, Loading } from "../../ui/states.tsx";
import { StatusWord } from "../../ui/status-word.tsx";
import { type Column, Table } from "../../ui/table.tsx";
import { troublesOf } from "./words.ts";

const refreshMs = 10_000;

interface ReplicaRow {
  readonly part: SystemPart;
  readonly replica: SystemReplica;
}

const looks: Readonly<Record<string, string>> = { ready: "completed", degraded: "waiting" };
const lookOf = (status: string) => looks[status] ?? "failed";

const columns: readonly Column<ReplicaRow>[] = [
  { name: "part", label: "Part", cell: ({ part }) => part.name },
  {
    name: "status",
    label: "Status",
    cell: ({ part, replica }) =>
      replica.is_silent ? (
        <StatusWord status="failed" word="Silent" />
      ) : (
        <StatusWord status={lookOf(part.status)} word={part.status} />
      ),
  },
  { name: "instance", label: "Instance", cell: ({ replica }) => <code>{replica.instance}</code> },
  { name: "version", label: "Version", cell: ({ replica }) => replica.version },
  { name: "up", label: "Up", isNumber: true, cell: ({ replica }) => roughSpan(replica.uptime_seconds * 1_000) },
  {
    name: "pool",
    label: "Connections used of",
    isNumber: true,
    cell: ({ replica: { pools } }) => pools.map(({ open, idle, max }) => `${open - idle}/${max}`).join(", ") || "–",
  },
  { name: "lag", label: "Loop lag", isNumber: true, cell: ({ replica }) => `${replica.loop_lag_ms} ms` },
  { name: "memory", label: "Memory", isNumber: true, cell: ({ replica }) => bytesText(replica.memory_bytes) },
];

/** The parts of the system, their figures and the stores, for admins. */
export default function SystemPage() {
  const { data, error, reload } = useResource("system", (signal) => api("GET /v1/admin/system", { signal }));
  useEffect(() => {
    const timer = setInterval(() => {
      if (!document.hidden) reload();
    }, refreshMs);
    return () => clearInterval(timer);
  }, [reload]);
  const troubles = data === undefined ? [] : troublesOf(data);
  const queues = data?.parts.flatMap(({ replicas }) => replicas.flatMap(({ queues: all }) => all)) ?? [];
  const sum = (field: "in_progress" | "waiting") => queues.reduce((total, queue) => total + queue[field], 0);
  return (
    <>
      <PageHead
        title="System"
        sentence={
          data === undefined
            ? undefined
            : troubles.length === 0
              ? `Ready: all ${countText(data.parts.length, "part")} and ${countText(data.stores.length, "store")} answer.`
              : `${countText(troubles.length, "thing is", "things are")} not well.`
        }
      >
        {data !== undefined && <Copy text={() => JSON.stringify(data, undefined, 2)} label="Copy as JSON" />}
      </PageHead>
      {error !== undefined && <ErrorBox error={error} onRetry={reload} />}
      {data === undefined && error === undefined && <Loading what="the system" />}
      {data !== undefined && (
        <div class="stack">
          {troubles.map((words) => (
            <p key={words} class="notice notice-danger">
              {words}
            </p>
          ))}
          <Table
            caption="Parts and their replicas"
            columns={columns}
            rows={data.parts.flatMap((part) => part.replicas.map((replica) => ({ part, replica })))}
            rowKey={({ part, replica }) => `${part.name} ${replica.instance}`}
          />
          <p>
            Calls of models: {sum("in_progress")} in progress, {sum("waiting")} waiting, the oldest for{" "}
            {spanText(Math.max(0, ...queues.map(({ oldest_wait_ms }) => oldest_wait_ms)))}.
          </p>
          <ul>
            {data.stores.map(({ name, status }) => (
              <li key={name}>
                {name}: {status}
              </li>
            ))}
          </ul>
        </div>
      )}
    </>
  );
}
