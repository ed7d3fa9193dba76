import { useState } from "preact/hooks";
import { api } from "../api/request.ts";
import { useResource } from "../api/resource.ts";
import type { Approval } from "../api/types.ts";
import { countText } from "../format/money.ts";
import { dateTime, roughSpan, timeOf } from "../format/time.ts";
import { useKeys } from "../keyboard/keys.ts";
import { SchemaForm } from "../schema-form/lazy-schema-form.tsx";
import type { FormState } from "../schema-form/schema-form.tsx";
import { Button } from "../ui/button.tsx";
import { FormError, TextField } from "../ui/field.tsx";
import { JsonView } from "../ui/json-view.tsx";
import { refusalOf } from "../ui/refusal.ts";
import { ErrorBox, Loading } from "../ui/states.tsx";
import { minuteClock } from "../ui/time.tsx";
import { type Decided, type Decision, decide, standingText } from "./decide.ts";

/** A call that waits for a person. */
export interface ApprovalBoxProps {
  readonly approval: Approval;
  /** The effect of the tool, if it is known; `once` asks twice. */
  readonly effect?: string;
  /** JSON schema of the arguments; undefined: it is read from the tool. */
  readonly schema?: object;
  readonly onDecided: (decided: Decided, decision: Decision) => void;
  /** Listens to a, e and r. */
  readonly hasKeys?: boolean;
}

type Mode = "look" | "edit" | "reject" | "again";

async function schemaOf(tool: string, signal: AbortSignal): Promise<object> {
  const { tools } = await api("GET /v1/tools", { signal });
  return tools.find(({ function: told }) => told?.name === tool)?.function?.parameters ?? {};
}

function Edit(props: {
  readonly approval: Approval;
  readonly schema: object | undefined;
  readonly onSend: (text: string) => void;
  readonly onBack: () => void;
}) {
  const { approval, schema: given, onSend, onBack } = props;
  const [state, setState] = useState<FormState>();
  const { data, error, reload } = useResource(
    `schema:${approval.tool_name}`,
    async (signal) => given ?? (await schemaOf(approval.tool_name, signal)),
  );
  const changes = state?.changes ?? 0;
  return (
    <div class="stack">
      {error !== undefined && <ErrorBox error={error} onRetry={reload} />}
      {data === undefined && error === undefined && <Loading what="tools" />}
      {data !== undefined && <SchemaForm schema={data} text={approval.arguments} onChange={setState} />}
      <div class="row">
        <Button
          kind="primary"
          disabled={(state?.faults.length ?? 0) > 0}
          onClick={() => onSend(changes === 0 ? approval.arguments : (state?.text ?? approval.arguments))}
        >
          {changes === 0 ? "Approve" : `Approve with ${countText(changes, "change")}`}
        </Button>
        <Button onClick={onBack}>Back</Button>
      </div>
    </div>
  );
}

function Reject({ onSend, onBack }: { readonly onSend: (reason: string) => void; readonly onBack: () => void }) {
  const [reason, setReason] = useState("");
  return (
    <form
      class="stack"
      onSubmit={(event) => {
        event.preventDefault();
        onSend(reason);
      }}
      onKeyDown={(event) => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) onSend(reason);
      }}
    >
      <TextField label="Reason, told to the model" value={reason} onInput={setReason} lines={2} maxLength={2_000} />
      <div class="row">
        <Button kind="danger" type="submit">
          Reject
        </Button>
        <Button onClick={onBack}>Back</Button>
      </div>
    </form>
  );
}

/** A waiting call with its arguments as they will run, and the three answers to it. */
export function ApprovalBox({ approval, effect, schema, onDecided, hasKeys = false }: ApprovalBoxProps) {
  const [mode, setMode] = useState<Mode>("look");
  const [isSending, setSending] = useState(false);
  const [refusal, setRefusal] = useState<string>();
  const expires = timeOf(approval.expires_at);
  const now = minuteClock.value;
  const isExpired = approval.status === "pending" && expires !== undefined && expires.getTime() <= Date.now();
  const isOpen = approval.status === "pending" && !isExpired;
  const send = async (decision: Decision) => {
    if (isSending) return;
    setSending(true);
    setRefusal(undefined);
    try {
      onDecided(await decide(approval.id, decision), decision);
    } catch (error) {
      const { faults, sentence } = refusalOf(error);
      setRefusal(Object.values(faults)[0] ?? sentence);
    } finally {
      setSending(false);
    }
  };
  const approve = () => {
    if (effect === "once" && mode !== "again") setMode("again");
    else void send({ approved: true });
  };
  const open = (next: Mode) => () => {
    if (!isOpen) return false;
    setMode(next);
    return true;
  };
  useKeys(hasKeys && isOpen ? { a: approve, e: open("edit"), r: open("reject") } : {});
  const body = (argumentsJson: string): Decision => ({
    approved: true,
    argumentsJson: argumentsJson === approval.arguments ? undefined : argumentsJson,
  });
  return (
    <div class="approval stack" aria-busy={isSending}>
      <FormError text={refusal} />
      {mode !== "edit" && <JsonView text={approval.arguments} label="Arguments as they will run" file="arguments.json" />}
      {approval.status !== "pending" && <p>{standingText(approval)}</p>}
      {isExpired && expires !== undefined && <p>This call expired on {dateTime(expires)} and counts as rejected.</p>}
      {isOpen && mode === "edit" && (
        <Edit approval={approval} schema={schema} onSend={(text) => void send(body(text))} onBack={() => setMode("look")} />
      )}
      {isOpen && mode === "reject" && (
        <Reject onSend={(reason) => void send({ approved: false, reason })} onBack={() => setMode("look")} />
      )}
      {isOpen && (mode === "look" || mode === "again") && (
        <div class="row approval-buttons">
          <Button kind="primary" shortcut={hasKeys ? "a" : undefined} disabled={isSending} onClick={approve}>
            {mode === "again" ? "Approve: it runs once and cannot be undone" : "Approve"}
          </Button>
          <Button shortcut={hasKeys ? "e" : undefined} disabled={isSending} onClick={() => setMode("edit")}>
            Edit arguments
          </Button>
          <Button shortcut={hasKeys ? "r" : undefined} disabled={isSending} onClick={() => setMode("reject")}>
            Reject…
          </Button>
          {expires !== undefined && <span class="meta">expires in {roughSpan(expires.getTime() - now.getTime())}</span>}
        </div>
      )}
    </div>
  );
}
