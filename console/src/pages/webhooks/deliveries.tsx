import { useState } from "preact/hooks";
import { api } from "../../api/request.ts";
import { useResource } from "../../api/resource.ts";
import type { WebhookDelivery } from "../../api/types.ts";
import { hrefOf, query, setQuery } from "../../router/router.ts";
import { Button } from "../../ui/button.tsx";
import { Dialog, DialogActions } from "../../ui/dialog.tsx";
import { SelectField } from "../../ui/field.tsx";
import { JsonView } from "../../ui/json-view.tsx";
import { Pager, usePages } from "../../ui/pager.tsx";
import { refusalOf } from "../../ui/refusal.ts";
import { ErrorBox, Loading } from "../../ui/states.tsx";
import { StatusWord } from "../../ui/status-word.tsx";
import { type Column, Table } from "../../ui/table.tsx";
import { Time } from "../../ui/time.tsx";
import { toast } from "../../ui/toasts.tsx";

const words: Readonly<Record<string, string>> = { pending: "Pending", delivered: "Delivered", failed: "Failed" };

/** The message of a delivery and the receiver's last answer. */
function DeliveryDialog(props: {
  readonly delivery: WebhookDelivery;
  readonly onClose: () => void;
  readonly onRedelivered: () => void;
}) {
  const { delivery, onClose, onRedelivered } = props;
  const path = { webhook_id: delivery.webhook_id, delivery_id: delivery.id };
  const { data, error, reload } = useResource(`delivery:${delivery.id}`, (signal) =>
    api("GET /v1/webhooks/{webhook_id}/deliveries/{delivery_id}", { signal, path }),
  );
  const redeliver = async () => {
    try {
      await api("POST /v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver", { path });
      toast("The message is sent again.");
      onRedelivered();
      onClose();
    } catch (failure) {
      toast(refusalOf(failure).sentence ?? "The message could not be sent again.", { isError: true });
    }
  };
  return (
    <Dialog title={`Delivery of ${delivery.event}`} onClose={onClose} wide>
      <div class="stack">
        <p>
          {delivery.response_status > 0 ? `The receiver answered ${delivery.response_status}.` : "No answer."}{" "}
          <bdi>{delivery.error}</bdi>
          {delivery.run_id !== "" && <a href={hrefOf(`runs/${delivery.run_id}`)}> Open the run</a>}
        </p>
        {error !== undefined && <ErrorBox error={error} onRetry={reload} />}
        {data === undefined && error === undefined && <Loading what="this delivery" />}
        {data !== undefined && (
          <>
            <h3>Message</h3>
            <JsonView text={data.request_body} label="Message" file={`delivery-${delivery.id}.json`} />
            <h3>Answer, its first 4 kB</h3>
            {data.response_body === "" ? <p class="meta">Empty.</p> : <JsonView text={data.response_body} label="Answer" />}
          </>
        )}
      </div>
      <DialogActions>
        <Button onClick={() => void redeliver()}>Send again</Button>
        <Button kind="primary" onClick={onClose} autofocus>
          Close
        </Button>
      </DialogActions>
    </Dialog>
  );
}

/** The deliveries of a webhook, newest first, by status. `round` loads them again when it changes. */
export function Deliveries({ webhookId, round }: { readonly webhookId: string; readonly round: number }) {
  const pages = usePages();
  const status = query.value.get("status") ?? "";
  const [opened, setOpened] = useState<WebhookDelivery>();
  const key = `deliveries:${webhookId}:${status}:${pages.cursor}:${round}`;
  const { data, error, reload, isLoading } = useResource(key, (signal) =>
    api("GET /v1/webhooks/{webhook_id}/deliveries", {
      signal,
      path: { webhook_id: webhookId },
      query: { status, cursor: pages.cursor, limit: 50 },
    }),
  );
  const columns: readonly Column<WebhookDelivery>[] = [
    {
      name: "event",
      label: "Event",
      cell: (delivery) => (
        <Button small kind="quiet" onClick={() => setOpened(delivery)}>
          {delivery.event}
        </Button>
      ),
    },
    { name: "status", label: "Status", cell: ({ status }) => <StatusWord status={status} word={words[status]} /> },
    { name: "attempts", label: "Attempts", isNumber: true, cell: ({ attempts }) => attempts },
    { name: "answer", label: "Answer", isNumber: true, cell: ({ response_status }) => response_status || "–" },
    { name: "error", label: "Error", cell: ({ error }) => <bdi>{error}</bdi> },
    { name: "at", label: "When", cell: ({ created_at }) => <Time at={created_at} /> },
    { name: "next", label: "Next attempt", cell: ({ next_attempt_at }) => <Time at={next_attempt_at} /> },
  ];
  return (
    <section class="stack" aria-labelledby="deliveries">
      <div class="row spread">
        <h2 id="deliveries">Deliveries</h2>
        <SelectField
          label="Status"
          value={status}
          onChange={(value) => setQuery({ status: value, cursor: undefined })}
          options={[["", "all"], ...Object.entries(words)]}
        />
      </div>
      {error !== undefined && <ErrorBox error={error} onRetry={reload} />}
      {data === undefined && error === undefined && <Loading what="deliveries" />}
      {data?.deliveries.length === 0 && <p>No deliveries.</p>}
      {data !== undefined && data.deliveries.length > 0 && (
        <Table caption="Deliveries" columns={columns} rows={data.deliveries} rowKey={({ id }) => id} isLoading={isLoading} />
      )}
      <Pager pages={pages} nextCursor={data?.next_cursor} />
      {opened !== undefined && <DeliveryDialog delivery={opened} onClose={() => setOpened(undefined)} onRedelivered={reload} />}
    </section>
  );
}
