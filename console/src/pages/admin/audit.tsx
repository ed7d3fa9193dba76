import { useState } from "preact/hooks";
import { api } from "../../api/request.ts";
import { useResource } from "../../api/resource.ts";
import type { AuditEntry, AuditVerification } from "../../api/types.ts";
import { numberText } from "../../format/money.ts";
import { query, setQuery } from "../../router/router.ts";
import { Button } from "../../ui/button.tsx";
import { Copy } from "../../ui/copy.tsx";
import { SelectField, TextField } from "../../ui/field.tsx";
import { PageHead } from "../../ui/page.tsx";
import { Pager, usePages } from "../../ui/pager.tsx";
import { refusalOf } from "../../ui/refusal.ts";
import { Empty, ErrorBox, Loading } from "../../ui/states.tsx";
import { type Column, Table } from "../../ui/table.tsx";
import { Time } from "../../ui/time.tsx";
import { verificationText } from "./words.ts";

const logs = [
  ["auth", "accounts and credentials"],
  ["conversation", "decisions"],
] as const;
type Log = (typeof logs)[number][0];

const columns: readonly Column<AuditEntry>[] = [
  { name: "time", label: "Time", cell: ({ at }) => <Time at={at} /> },
  { name: "number", label: "Entry", isNumber: true, cell: ({ sequence }) => numberText(sequence) },
  { name: "event", label: "Event", cell: ({ action, outcome }) => (outcome === "success" ? action : `${action}: ${outcome}`) },
  { name: "who", label: "Who", cell: ({ actor_id }) => <code>{actor_id === "" ? "–" : actor_id}</code> },
  { name: "subject", label: "On what", cell: ({ subject }) => <code>{subject === "" ? "–" : subject}</code> },
  { name: "address", label: "Address", cell: ({ address }) => <bdi>{address}</bdi> },
  {
    name: "details",
    label: "Details",
    cell: ({ details }) => <code dir="auto">{JSON.stringify(details ?? {}).slice(0, 120)}</code>,
  },
];

function Verification({ log }: { readonly log: Log }) {
  const [result, setResult] = useState<AuditVerification>();
  const [refusal, setRefusal] = useState<string>();
  const [isRunning, setRunning] = useState(false);
  const verify = async () => {
    if (isRunning) return;
    setRunning(true);
    setRefusal(undefined);
    try {
      const { verification } =
        log === "auth"
          ? await api("POST /v1/admin/audit/auth/verify", {})
          : await api("POST /v1/admin/audit/conversation/verify", {});
      setResult(verification ?? undefined);
    } catch (error) {
      setRefusal(refusalOf(error).sentence);
    } finally {
      setRunning(false);
    }
  };
  return (
    <div class={result !== undefined && result.broken_at > 0 ? "notice notice-danger row" : "notice row"} role="status">
      {result === undefined ? (
        <span>{isRunning ? "Verifying…" : "Not verified yet."}</span>
      ) : (
        <span>{verificationText(result)}</span>
      )}
      {result !== undefined && (
        <>
          <span>
            head <code>{result.head.slice(0, 12)}…</code>
          </span>
          <Copy text={result.head} label="Copy head" />
          <span class="meta">
            checked <Time at={result.checked_at} />
          </span>
        </>
      )}
      {refusal !== undefined && <span>{refusal}</span>}
      <Button small disabled={isRunning} onClick={() => void verify()}>
        Verify now
      </Button>
    </div>
  );
}

/** The audit logs, for admins. */
export default function AuditPage() {
  const pages = usePages();
  const log: Log = query.value.get("log") === "conversation" ? "conversation" : "auth";
  const [event, user] = ["event", "user"].map((name) => query.value.get(name) ?? "");
  const { data, error, reload, isLoading } = useResource(`audit:${log}:${event}:${user}:${pages.cursor}`, (signal) => {
    const asked = { signal, query: { event, user, cursor: pages.cursor, limit: 50 } };
    return log === "auth" ? api("GET /v1/admin/audit/auth", asked) : api("GET /v1/admin/audit/conversation", asked);
  });
  const set = (values: Readonly<Record<string, string>>) => setQuery({ ...values, cursor: undefined });
  return (
    <>
      <PageHead title="Audit" sentence="Every entry holds the hash of the one before it." />
      <Verification key={log} log={log} />
      <div class="filters" role="search">
        <SelectField label="Log" value={log} onChange={(value) => set({ log: value })} options={logs} />
        <TextField
          label="Event, such as api_key"
          value={event ?? ""}
          onInput={(value) => set({ event: value })}
          maxLength={100}
        />
        <TextField label="Account or object" value={user ?? ""} onInput={(value) => set({ user: value })} maxLength={100} />
      </div>
      {error !== undefined && <ErrorBox error={error} onRetry={reload} />}
      {data === undefined && error === undefined && <Loading what="entries" />}
      {data?.entries.length === 0 && (
        <Empty>
          <p>No entries for these filters{data.next_cursor === "" ? "" : " on this page"}.</p>
        </Empty>
      )}
      {data !== undefined && data.entries.length > 0 && (
        <Table
          caption="Entries of the audit log"
          columns={columns}
          rows={data.entries}
          rowKey={({ sequence }) => String(sequence)}
          isLoading={isLoading}
        />
      )}
      <Pager pages={pages} nextCursor={data?.next_cursor} />
    </>
  );
}
