import { useState } from "preact/hooks";
import { api } from "../../api/request.ts";
import type { DecisionResult, InboxItem } from "../../api/types.ts";
import { countText } from "../../format/money.ts";
import { Button } from "../../ui/button.tsx";
import { Dialog, DialogActions } from "../../ui/dialog.tsx";
import { FormError } from "../../ui/field.tsx";
import { JsonView } from "../../ui/json-view.tsx";
import { refusalOf } from "../../ui/refusal.ts";

/** Shows the arguments of several calls, then approves them together. */
export function BulkDialog(props: {
  readonly items: readonly InboxItem[];
  readonly onDone: (results: readonly DecisionResult[]) => void;
  readonly onClose: () => void;
}) {
  const { items, onDone, onClose } = props;
  const [refusal, setRefusal] = useState<string>();
  const [isSending, setSending] = useState(false);
  const send = async () => {
    if (isSending) return;
    setSending(true);
    try {
      const decisions = items.map(({ id }) => ({
        approval_id: id,
        approved: true,
        reason: null,
        arguments: null,
        arguments_json: null,
      }));
      onDone((await api("POST /v1/approvals/decisions", { body: { decisions, via: "console" } })).results);
    } catch (error) {
      const { faults, sentence } = refusalOf(error);
      setRefusal(Object.values(faults)[0] ?? sentence);
    } finally {
      setSending(false);
    }
  };
  const what = countText(items.length, "call");
  return (
    <Dialog title={`Approve ${what}?`} onClose={onClose} wide>
      <div class="stack">
        <FormError text={refusal} />
        {items.map((item) => (
          <section key={item.id} class="stack-small">
            <h3>
              <bdi>{item.calls[0]?.tool_name}</bdi>
            </h3>
            <JsonView text={item.calls[0]?.arguments ?? ""} label={`Arguments of ${item.calls[0]?.tool_name ?? "the call"}`} />
          </section>
        ))}
      </div>
      <DialogActions>
        <Button autofocus onClick={onClose}>
          Back
        </Button>
        <Button kind="primary" disabled={isSending} onClick={() => void send()}>
          Approve {what}
        </Button>
      </DialogActions>
    </Dialog>
  );
}
