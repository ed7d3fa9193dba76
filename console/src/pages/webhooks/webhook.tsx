import { useState } from "preact/hooks";
import { api } from "../../api/request.ts";
import { useResource } from "../../api/resource.ts";
import type { Webhook } from "../../api/types.ts";
import { hrefOf, navigate } from "../../router/router.ts";
import { Button } from "../../ui/button.tsx";
import { Dialog, DialogActions } from "../../ui/dialog.tsx";
import { FormError } from "../../ui/field.tsx";
import { PageHead, type PageProps } from "../../ui/page.tsx";
import { refusalOf } from "../../ui/refusal.ts";
import { ShownOnce } from "../../ui/shown-once.tsx";
import { ErrorBox, Loading } from "../../ui/states.tsx";
import { Time } from "../../ui/time.tsx";
import { toast } from "../../ui/toasts.tsx";
import { Deliveries } from "./deliveries.tsx";
import { type WebhookEvent, webhookEvents } from "./events.ts";
import { WebhookForm } from "./webhook-form.tsx";
import { WebhookStatus } from "./webhooks.tsx";

function DeleteDialog({ id, onClose }: { readonly id: string; readonly onClose: () => void }) {
  const [refusal, setRefusal] = useState<string>();
  const remove = async () => {
    try {
      await api("DELETE /v1/webhooks/{webhook_id}", { path: { webhook_id: id } });
      toast("The webhook is deleted.");
      navigate(hrefOf("webhooks"));
    } catch (error) {
      setRefusal(refusalOf(error).sentence);
    }
  };
  return (
    <Dialog title="Delete the webhook?" onClose={onClose}>
      <FormError text={refusal} />
      <p>Its pending deliveries are given up, and its deliveries are no longer shown.</p>
      <DialogActions>
        <Button autofocus onClick={onClose}>
          Keep it
        </Button>
        <Button kind="danger" onClick={() => void remove()}>
          Delete
        </Button>
      </DialogActions>
    </Dialog>
  );
}

function State({ webhook, onChanged }: { readonly webhook: Webhook; readonly onChanged: (webhook: Webhook | null) => void }) {
  const set = async (enabled: boolean) => {
    try {
      const path = { webhook_id: webhook.id };
      onChanged((await api("PATCH /v1/webhooks/{webhook_id}", { path, body: { enabled } })).webhook);
    } catch (error) {
      toast(refusalOf(error).sentence ?? "The webhook could not be changed.", { isError: true });
    }
  };
  return (
    <div class="card stack">
      <div class="row">
        <WebhookStatus webhook={webhook} />
        <Button small onClick={() => void set(!webhook.enabled)}>
          {webhook.enabled ? "Disable" : "Enable"}
        </Button>
        <span class="meta">
          Last failure <Time at={webhook.last_failure_at} empty="none" />
        </span>
      </div>
      {!webhook.enabled && webhook.disabled_reason !== "" && (
        <p>
          Disabled by the server: <bdi>{webhook.disabled_reason}</bdi>
        </p>
      )}
    </div>
  );
}

/** One webhook: its state, its deliveries, its fields. */
export default function WebhookPage({ params }: PageProps) {
  const webhook_id = params.id ?? "";
  const { data, error, reload, setData } = useResource(`webhook:${webhook_id}`, (signal) =>
    api("GET /v1/webhooks/{webhook_id}", { signal, path: { webhook_id } }),
  );
  const [isDeleting, setDeleting] = useState(false);
  const [secret, setSecret] = useState<string>();
  const [tests, setTests] = useState(0);
  const webhook = data?.webhook ?? undefined;
  const replace = (changed: Webhook | null) => setData((old) => (changed === null ? old : { webhook: changed }));
  const attempt = async (work: () => Promise<void>) => {
    try {
      await work();
    } catch (failure) {
      toast(refusalOf(failure).sentence ?? "It could not be done.", { isError: true });
    }
  };
  const test = () =>
    attempt(async () => {
      await api("POST /v1/webhooks/{webhook_id}/test", { path: { webhook_id } });
      setTests((count) => count + 1);
      toast("A test is on its way.");
    });
  const rotate = () =>
    attempt(async () => {
      const done = await api("POST /v1/webhooks/{webhook_id}/rotate", { path: { webhook_id }, once: `rotate:${webhook_id}` });
      replace(done.webhook);
      setSecret(done.secret);
    });
  return (
    <>
      <PageHead
        title="Webhook"
        heading={<bdi>{webhook?.url ?? "Webhook"}</bdi>}
        sentence={<a href={hrefOf("webhooks")}>All webhooks</a>}
      >
        {webhook !== undefined && (
          <>
            <Button onClick={() => void test()}>Send a test</Button>
            <Button onClick={() => void rotate()}>New secret</Button>
            <Button kind="danger" onClick={() => setDeleting(true)}>
              Delete…
            </Button>
          </>
        )}
      </PageHead>
      {error !== undefined && <ErrorBox error={error} onRetry={reload} />}
      {data === undefined && error === undefined && <Loading what="webhooks" />}
      {webhook !== undefined && (
        <div class="stack">
          <State webhook={webhook} onChanged={replace} />
          <Deliveries webhookId={webhook_id} round={tests} />
          <details>
            <summary>Change address, description and events</summary>
            <WebhookForm
              initial={{ url: webhook.url, description: webhook.description, events: webhook.events as WebhookEvent[] }}
              action="Save"
              onSend={async (draft) => {
                const path = { webhook_id };
                // An empty list changes nothing.
                const body = { ...draft, events: draft.events.length === 0 ? webhookEvents.map(([name]) => name) : draft.events };
                replace((await api("PATCH /v1/webhooks/{webhook_id}", { path, body })).webhook);
                toast("The webhook is changed.");
              }}
            />
          </details>
        </div>
      )}
      {isDeleting && <DeleteDialog id={webhook_id} onClose={() => setDeleting(false)} />}
      {secret !== undefined && <ShownOnce title="The new signing secret" secret={secret} onDone={() => setSecret(undefined)} />}
    </>
  );
}
